"""Out-of-fold figures of the malignancy networks for other settings: as a row of a table.

python benchmarks/malignancy.py --data DATA --slices models/pretrained/slices --set networks=1 network.filters=16

It trains as the stage `nodules.pretraining.stages.malignancy` does, with the settings of models/pretrained/params.yaml
and the changes of `--set`, but does not train the network of all patients. It prints the figures as JSON and as a row.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nodules import params
from nodules.evaluation.malignancy import summary
from nodules.models.malignancy.cross_fitting import calibrate, cross_fit
from nodules.models.malignancy.training import MalignancyParams
from nodules.pretraining.rated_nodules import folds_of, out_of_fold_table, rated_cubes
from nodules.pretraining.real_data import RealData
from nodules.stages.shared.settings import RunParams


def main() -> None:
    """Print the figures of one setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of real data, with nodule_cubes")
    parser.add_argument("--slices", type=Path, required=True, help="folder with the manifest.csv that gives the folds")
    parser.add_argument("--params", type=Path, default=Path("models/pretrained/params.yaml"))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="e.g. network.filters=16")
    chosen = parser.parse_args()
    settings = params.load("malignancy", MalignancyParams, chosen.params)
    for change in chosen.set:
        name, _, value = change.partition("=")
        settings = changed(settings, name.split("."), json.loads(value))
    seed = params.load("run", RunParams, chosen.params).seed
    started = time.perf_counter()
    cubes = RealData(chosen.data).cubes
    folds, rated = folds_of(cubes, chosen.slices), rated_cubes(cubes, settings)
    with tempfile.TemporaryDirectory() as work:
        outputs = cross_fit(rated, folds, settings, seed=seed, work=Path(work))
    diameters_mm = np.array([cube.diameter_mm for cube in cubes])
    _, probabilities = calibrate(outputs, rated.malignant, diameters_mm, folds, seed)
    figures = summary(out_of_fold_table(cubes, folds, rated.malignant, probabilities), list(probabilities))
    print(json.dumps(figures, indent=2))
    print(row(" ".join(chosen.set) or "as in params.yaml", figures, (time.perf_counter() - started) / 60))


def changed(settings: Any, path: list[str], value: Any) -> Any:
    """Settings with one value replaced, at any depth."""
    if len(path) > 1:
        value = changed(getattr(settings, path[0]), path[1:], value)
    return replace(settings, **{path[0]: tuple(value) if isinstance(value, list) else value})


def row(what: str, figures: dict[str, dict[str, dict[str, float]]], minutes: float) -> str:
    """A row of the table: AUC and ECE with intervals, without and with the diameter, and both AUC off centre."""
    cells = [what]
    for name in ("centred", "centred_with_diameter"):
        whole = figures[name]["all_sizes"]
        cells += [f"{whole[m]:.3f} ({whole[f'{m}_low']:.3f}-{whole[f'{m}_high']:.3f})" for m in ("auc", "ece")]
    beside = (figures[name]["all_sizes"]["auc"] for name in ("off_centre", "off_centre_with_diameter"))
    cells += [", ".join(f"{auc:.3f}" for auc in beside), f"{minutes:.0f}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
