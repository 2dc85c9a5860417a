"""Measure the features of every Data Science Bowl patient."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pandas as pd

from nodules import parallel, params
from nodules.imaging.candidates.outline import CandidateParams, SegmentationSettings
from nodules.imaging.features.measure import measure_patient
from nodules.scans.stores import segmentations
from nodules.stages.shared import command
from nodules.stages.shared.cached_reducer import load_reducer
from nodules.stages.shared.settings import RunParams
from nodules.tracking.stage import stage_run


def main(*, segmentations: Path, reducer: Path, tuned: Path, output: Path) -> None:
    """Write features.csv, one row per patient, and candidates.csv, one row per candidate."""
    run, candidates = params.load("run", RunParams), params.load("candidates", CandidateParams)
    settings = SegmentationSettings(**json.loads(tuned.read_text()))
    manifest = pd.read_csv(segmentations / "manifest.csv", dtype={"scan": str}).set_index("scan")
    items = {patient: (segmentations / patient, row.to_dict()) for patient, row in manifest.iterrows()}
    with stage_run("features", {"tuned": settings, "candidates": candidates}, [segmentations, reducer, tuned]) as stage:
        rows = parallel.map_scans(
            functools.partial(measure_folder, reducer=reducer, settings=settings, candidates=candidates),
            items,
            stage="features",
            output=output,
            max_failures=run.max_failures,
        )
        tables = {row["scan"]: pd.read_csv(output / f"{row['scan']}.csv") for row in rows}
        found = pd.concat([table.assign(id=patient) for patient, table in tables.items()], ignore_index=True)
        found[["id", *(name for name in found.columns if name != "id")]].to_csv(output / "candidates.csv", index=False)
        for patient in tables:
            (output / f"{patient}.csv").unlink()
        table = pd.DataFrame(rows).rename(columns={"scan": "id"}).set_index("id")
        table.to_csv(output / "features.csv")
        stage.log_metrics(
            {
                "patients": float(len(table)),
                "patients_with_candidates": float(table["has_candidate"].sum()),
            }
        )
        stage.log_file(output / "features.csv")


def measure_folder(
    item: tuple[Path, dict[str, float]],
    folder: Path,
    *,
    reducer: Path,
    settings: SegmentationSettings,
    candidates: CandidateParams,
) -> dict[str, Any]:
    """Measure one patient from its folder of segmentations."""
    stored, lungs = item
    scorer = load_reducer(reducer)
    found, measured = measure_patient(segmentations.load(stored), lungs, settings, candidates, scorer)
    found.table.to_csv(folder / f"{stored.name}.csv", index=False)
    return {"scan": stored.name, **measured}


if __name__ == "__main__":
    command.run(main)
