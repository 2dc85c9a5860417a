"""The command line `nodules`, with one module per command.

The modules import slow packages inside their functions, so that `nodules --help` is fast.
"""

from __future__ import annotations

import click

from nodules.cli.check import check
from nodules.cli.classify import classify
from nodules.cli.ensemble import ensemble
from nodules.cli.evaluate_cubes import evaluate_cubes
from nodules.cli.froc import froc
from nodules.cli.lungs import lungs
from nodules.cli.predict import predict
from nodules.cli.summary import summary


@click.group()
def main() -> None:
    """Lung nodules and lung cancer risk from chest CT.

    SCAN is a DICOM folder, zip or multi-frame file, .mhd, .mha, .nii, .nii.gz or .nrrd. Not a medical device.
    """


for command in (check, classify, ensemble, evaluate_cubes, froc, lungs, predict, summary):
    main.add_command(command)
