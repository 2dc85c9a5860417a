"""Out-of-fold scores of candidates on real nodules: a network should find nodules, and not tell sources apart.

Run it as `python benchmarks/candidate_scores.py REDUCER ...`, where each REDUCER is a folder that the stage
`nodules.pretraining.stages.false_positive_reduction` wrote for a held-out fold. The script pools their `scores.csv` and
prints, for the U-Net's mean probability, for the network alone and for both fused (cross-fitted by folder):

- the area under the ROC curve on the candidates of cubes, of whole scans, and of nodules in cubes against other
  findings in whole scans;
- the share of nodules in cubes that is kept with 0.5 other findings per cube, among those that the U-Net proposes;
- the area under the ROC curve of other findings in cubes against other findings in whole scans: 0.5 if a network does
  not tell the sources apart;
- for each whole scan, how many other findings stand before each nodule that three or four readers drew.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from nodules.models.false_positive_reduction.score_fusion import auc
from nodules.pretraining.operating_point import OperatingPointParams, cross_fitted
from nodules.pretraining.stages.false_positive_reduction import read_scores

OTHERS_PER_CUBE = 0.5
WEIGHTS = OperatingPointParams((0.5,), 0.0, 2.0, 40.0, 4.0, OTHERS_PER_CUBE)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reducers", type=Path, nargs="+")
    arguments = parser.parse_args()
    tables = [read_scores(folder).assign(fold=str(folder)) for folder in arguments.reducers]
    scores = pd.concat(tables, ignore_index=True)
    scores["fused"] = cross_fitted(scores, WEIGHTS)[1]
    counts = scores.groupby(["source", "kind"]).size().to_dict()
    print(", ".join(f"{source} {kind}: {count}" for (source, kind), count in counts.items()))
    columns = {"U-Net": "mean_probability", "network": "log_odds", "fused": "fused"}
    print(pd.DataFrame({name: dict(figures(scores, column)) for name, column in columns.items()}).round(3).to_string())


def figures(scores: pd.DataFrame, column: str) -> Iterator[tuple[str, object]]:
    """The figures of one score, by name."""
    kinds = {
        (source, kind): found[column].to_numpy(dtype=float)
        for (source, kind), found in scores.groupby(["source", "kind"])
    }

    def area(positive: tuple[str, str], negative: tuple[str, str]) -> float | None:
        first, second = kinds.get(positive, np.empty(0)), kinds.get(negative, np.empty(0))
        return auc(np.repeat([True, False], [len(first), len(second)]), np.concatenate([first, second]))

    yield "AUC in cubes", area(("cubes", "nodule"), ("cubes", "other"))
    yield "AUC in whole scans", area(("scans", "nodule"), ("scans", "other"))
    yield "AUC of nodules in cubes, others in scans", area(("cubes", "nodule"), ("scans", "other"))
    yield "AUC of others in cubes, others in scans", area(("cubes", "other"), ("scans", "other"))
    yield f"nodules in cubes kept at {OTHERS_PER_CUBE} others", _kept(scores[scores["source"] == "cubes"], column)
    in_scans = scores[scores["source"] == "scans"]
    for series, found in in_scans.groupby("series"):
        nodules = found[found["kind"] == "nodule"].groupby("nodule")[column].max()
        others = found[column][found["kind"] == "other"]
        yield str(series), " ".join(str(int((others > score).sum())) for score in nodules)


def _kept(cubes: pd.DataFrame, column: str) -> float:
    allowed = int(OTHERS_PER_CUBE * cubes["image"].nunique())
    others = np.sort(cubes[column][cubes["kind"] == "other"])[::-1]
    level = others[allowed] if len(others) > allowed else -np.inf
    best = cubes[cubes["kind"] == "nodule"].groupby(["image", "nodule"])[column].max()
    return float((best > level).mean())


if __name__ == "__main__":
    main()
