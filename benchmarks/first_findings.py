"""Pictures of the first findings in real whole scans, by networks that have not seen the patients.

Run it as `python benchmarks/first_findings.py --real-data DATA --reducers REDUCERS --out OUT`
after the stages of `models/pretrained`. REDUCERS holds the outputs of the stage
`false_positive_reduction` for each fold. The script writes one picture per whole scan; they show patients, so OUT must
lie outside the repository.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from nodules import params
from nodules.imaging.lungs.segment import LungMaskParams, find_lungs
from nodules.pictures.overlay import candidates_sheet, save_figure
from nodules.pretraining.folds import FOLDS
from nodules.pretraining.operating_point import OperatingPointParams, cross_fitted
from nodules.pretraining.real_data import RealData
from nodules.pretraining.stages.false_positive_reduction import read_scores
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams

PARAMS = Path(__file__).parents[1] / "models" / "pretrained" / "params.yaml"


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--real-data", "--reducers", "--out"):
        parser.add_argument(name, type=Path, required=True)
    arguments = parser.parse_args()
    folders = [arguments.reducers / str(fold) for fold in range(FOLDS)]
    tables = [read_scores(folder).assign(fold=folder.name) for folder in folders if folder.is_dir()]
    scores = pd.concat(tables, ignore_index=True)
    scores["probability"] = cross_fitted(scores, params.load("operating_point", OperatingPointParams, PARAMS))[1]
    reading, lung_mask = params.load("reading", ReadingParams, PARAMS), params.load("lung_mask", LungMaskParams, PARAMS)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for series in RealData(arguments.real_data).series():
        found = scores[scores["series"] == f"scans-{series.name}"].sort_values("probability", ascending=False)
        if series.file is None or found.empty:
            continue
        volume = read_scan(series.file, reading).volume
        sheet = candidates_sheet(volume, find_lungs(volume, lung_mask).labels_zyx, found)
        save_figure(sheet, arguments.out / f"{series.name}.png")
        print(arguments.out / f"{series.name}.png")


if __name__ == "__main__":
    main()
