"""Effect of half precision on the diagnosis of a scan.

Run it as `python benchmarks/half_precision.py SCAN ...`; each is a file or folder that `nodules predict` takes. The
packaged model diagnoses every scan in float32 and in the precision of `--precision`. Each row gives the change of the
cancer probability, the largest change of a nodule's probability, and the number of nodules that only one precision
finds. Nodules match if their centres lie within 3 mm. Seconds are for the whole scan. The last row gives the largest
changes and the totals.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from scipy.spatial import cKDTree

from nodules.models.chain import chain_folder
from nodules.models.diagnosis import Diagnoser, Diagnosis
from nodules.models.runtime.devices import Precision
from nodules.models.unet.segmenter import SETTINGS_FILE
from nodules.scans.read import read_scan

SAME_MM = 3.0


@dataclass(frozen=True)
class Difference:
    """Difference between the diagnoses of one scan in two precisions."""

    cancer: float
    nodule: float
    alone: int
    seconds: tuple[float, float]


def main() -> None:
    """Diagnose each scan twice and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="+", type=Path)
    parser.add_argument("--model", type=Path, default=Path("models/diagnosis"))
    parser.add_argument("--precision", choices=get_args(Precision), default="mixed_bfloat16")
    arguments = parser.parse_args()
    single, half = (in_precision(arguments.model, name) for name in ("float32", arguments.precision))
    print(f"{arguments.precision} against float32\n")
    print("| scan | cancer | nodule | found by one alone | s, float32 | s, half |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    found = []
    for scan in arguments.scans:
        found.append(difference(scan, single, half))
        print(row(scan.name, found[-1]))
    most = Difference(
        max(one.cancer for one in found),
        max(one.nodule for one in found),
        sum(one.alone for one in found),
        (sum(one.seconds[0] for one in found), sum(one.seconds[1] for one in found)),
    )
    print(row("largest, or total", most))


def in_precision(model: Path, precision: Precision) -> Diagnoser:
    """Load the packaged model with another precision of its segmenter."""
    with tempfile.TemporaryDirectory() as folder:
        chain = Path(folder) / "chain"
        shutil.copytree(chain_folder(model), chain)
        file = chain / "segmenter" / SETTINGS_FILE
        settings = json.loads(file.read_text())
        settings["segmenter"]["precision"] = precision
        file.write_text(json.dumps(settings))
        return Diagnoser.load(chain)


def difference(scan: Path, single: Diagnoser, half: Diagnoser) -> Difference:
    """Diagnose the scan in both precisions and compare."""
    reading = read_scan(scan, single.reading)
    answers, seconds = [], []
    for diagnoser in (single, half):
        start = time.perf_counter()
        answers.append(diagnoser.diagnose(reading))
        seconds.append(time.perf_counter() - start)
    first, second = answers
    moved = list(moves(first, second))
    alone = len(first.candidates) + len(second.candidates) - 2 * len(moved)
    return Difference(
        abs(first.probability - second.probability), max(moved, default=0.0), alone, (seconds[0], seconds[1])
    )


def moves(first: Diagnosis, second: Diagnosis) -> Iterator[float]:
    """Change of the probability of each nodule that both precisions find."""
    places = [answer.candidates[["x_mm", "y_mm", "z_mm"]].to_numpy(dtype=float) for answer in (first, second)]
    if not all(map(len, places)):
        return
    distances, partners = cKDTree(places[1]).query(places[0])
    probabilities = [answer.candidates["probability"].to_numpy(dtype=float) for answer in (first, second)]
    for number in np.flatnonzero(distances <= SAME_MM):
        yield float(abs(probabilities[0][number] - probabilities[1][partners[number]]))


def row(name: str, found: Difference) -> str:
    """Format one row of the table."""
    return (
        f"| {name} | {found.cancer:.4f} | {found.nodule:.4f} | {found.alone} "
        f"| {found.seconds[0]:.1f} | {found.seconds[1]:.1f} |"
    )


if __name__ == "__main__":
    main()
