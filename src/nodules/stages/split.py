"""Assign each LUNA16 patient to training, validation or test."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from nodules import params
from nodules.scans.stores.split import SplitParams, split_patients
from nodules.stages.shared import command
from nodules.stages.shared.settings import DatasetParams, RunParams
from nodules.tracking.stage import stage_run


def main(*, slices: Path, lungs: Path, output: Path) -> None:
    """Split the scans that have both slices and lungs, and write the part of each to a table.

    LUNA16 does not say which series belong to one person, so each series counts as one patient.
    """
    run, settings = params.load("run", RunParams), params.load("split", SplitParams)
    subsets = params.load("dataset", DatasetParams).subsets
    # The subsets come from the parameters, because the folder may also hold subsets of an earlier run.
    scans = pd.concat([_scans(slices / f"subset{subset}", lungs / f"subset{subset}", subset) for subset in subsets])
    with stage_run("split", settings, [slices, lungs]) as stage:
        rows = split_patients(scans, settings, run.seed)
        output.parent.mkdir(parents=True, exist_ok=True)
        rows.to_csv(output, index=False)
        for part, group in rows.groupby("part"):
            stage.log_metrics({f"{part}_scans": float(len(group)), f"{part}_nodules": float(group["nodules"].sum())})


def _scans(slices: Path, lungs: Path, subset: int) -> pd.DataFrame:
    extracted = pd.read_csv(slices / "manifest.csv", dtype={"scan": str})
    segmented = pd.read_csv(lungs / "manifest.csv", dtype={"scan": str})
    both = extracted[extracted["scan"].isin(segmented["scan"])]
    return pd.DataFrame(
        {"seriesuid": both["scan"], "patient": both["scan"], "subset": subset, "nodules": both["nodules"]}
    )


if __name__ == "__main__":
    command.run(main)
