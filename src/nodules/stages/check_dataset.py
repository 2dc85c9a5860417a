"""DVC stage: say at once, and clearly, if a data set is not where params.yaml points."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from nodules import params
from nodules.scans.dsb import patient_folders, read_labels
from nodules.scans.luna import read_annotations, series_files
from nodules.scans.scan_error import ScanError
from nodules.stages.settings import DatasetParams, Layout


def main(layout: Layout, report: Path) -> None:
    """Write which files were found, or end with the reason why they cannot be used."""
    dataset = params.load("dataset", DatasetParams)
    try:
        found = _look(layout, dataset)
    except ScanError as error:
        key = "luna_root" if layout == "luna16" else "dsb_root"
        sys.exit(f"{error}\nThe folder is set as dataset.{key} in params.yaml (and conf/dataset/).")
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(found, indent=2) + "\n")


def _look(layout: Layout, dataset: DatasetParams) -> dict[str, object]:
    if layout in dataset.phantoms:
        return {"layout": layout, "made_by": "the stage phantoms"}
    if layout == "luna16":
        root = Path(dataset.luna_root)
        annotations = read_annotations(root / "annotations.csv")
        scans = {f"subset{subset}": len(series_files(root, subset)) for subset in dataset.subsets}
        return {"layout": layout, "scans": scans, "nodules": sum(map(len, annotations.values()))}
    root = Path(dataset.dsb_root)
    return {
        "layout": layout,
        "patients": len(patient_folders(root)),
        "labels": len(read_labels(root / "stage1_labels.csv")),
    }


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))  # type: ignore[arg-type]
