"""Lung segmentation on real scans: speed and memory against per-slice k-means, nodules inside, agreement, and pictures.

Run it as `python benchmarks/lungs.py --data DATA --out OUT`, where DATA is the folder that NODULES_REAL_DATA names. It
prints the tables of `lungs.md` and writes a contact sheet of each scan to OUT. Settings come from params.yaml.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lungs import STARTS, kmeans_lungs
from nodules import params
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import LungMaskParams, dilate_mm, find_lungs
from nodules.pictures.overlay import lung_contours, save_figure
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams
from nodules.scans.tables.luna import read_annotations
from nodules.scans.volume_files.reader import read_mask

TIMED = "LIDC-IDRI-0001"
DILATION_MM = 4.0
REPEATS = 3


@dataclass(frozen=True)
class Settings:
    """Sections of params.yaml."""

    reading: ReadingParams
    lung_mask: LungMaskParams


def main() -> None:
    """Print the tables and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="folder for the contact sheets; none without it")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--every", type=int, default=8, help="time k-means on every n-th slice")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    settings = Settings(
        params.load("reading", ReadingParams, arguments.params),
        params.load("lung_mask", LungMaskParams, arguments.params),
    )
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, settings)))
        return
    print_speed(arguments, settings)
    print_nodules(arguments.data, settings)
    print_scans(arguments.data, settings, arguments.out)


def print_speed(arguments: argparse.Namespace, settings: Settings) -> None:
    """Print our time and memory, each run in its own process, and the time of k-means, all on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    path = arguments.data / "dicom" / f"{TIMED}.zip"
    command = [sys.executable, __file__, "--data", str(arguments.data), "--params", str(arguments.params)]
    planes = read_scan(path, settings.reading).volume.voxels_zyx
    runs, kmeans = [], {STARTS: np.inf, 1: np.inf}
    for _ in range(REPEATS):  # alternating, so that other load on the machine affects both
        answer = subprocess.run([*command, "--measure", str(path)], check=True, capture_output=True, text=True)
        runs.append(json.loads(answer.stdout))
        for starts, best in kmeans.items():
            kmeans[starts] = min(best, seconds_a_slice(planes[:: arguments.every], starts))
    reading, lungs = (min(run[name] for run in runs) for name in ("reading", "lungs"))
    print(f"{TIMED}, {len(planes)} slices of {planes.shape[1]} x {planes.shape[2]}, one core, CPU seconds\n")
    print("| what | a slice | a scan | times ours |\n| --- | ---: | ---: | ---: |")
    print(f"| reading (zip of DICOM) | | {reading:.2f} | |")
    print(f"| lungs and their verdict | {lungs / len(planes):.4f} | {lungs:.2f} | 1 |")
    for starts, a_slice in kmeans.items():
        scan = a_slice * len(planes)
        print(f"| k-means, {starts} start{'s' * (starts > 1)} | {a_slice:.3f} | {scan:.1f} | {scan / lungs:.1f} |")
    print(f"\nReading and lungs: {reading + lungs:.2f} s, peak memory {max(run['peak_gib'] for run in runs):.2f} GiB.")
    print(f"Best of {REPEATS} runs of each, in turn; k-means timed on every {arguments.every}th slice.\n")


def measure(path: Path, settings: Settings) -> dict[str, float]:
    """CPU seconds and peak memory of this process for one scan."""
    start = time.process_time()
    scan = read_scan(path, settings.reading).volume
    read = time.process_time()
    find_lungs(scan, settings.lung_mask)
    found = time.process_time()
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"reading": read - start, "lungs": found - read, "peak_gib": peak_kib / 2**20}


def seconds_a_slice(planes_zyx: NDArray[Any], starts: int) -> float:
    """CPU seconds of k-means per slice, after one slice that is not counted."""
    kmeans_lungs(planes_zyx[0], starts)
    start = time.process_time()
    for plane in planes_zyx:
        kmeans_lungs(plane, starts)
    return (time.process_time() - start) / len(planes_zyx)


def print_nodules(data: Path, settings: Settings) -> None:
    """Print how many annotated nodules of the LUNA16 slices lie in our lungs and in those of k-means."""
    root = data / "luna16_slices"
    ours, dilated, theirs = [], [], []
    for seriesuid, nodules in read_annotations(root / "annotations.csv").items():
        scan = read_scan(root / "subset0" / f"{seriesuid}.mhd", settings.reading).volume
        lungs = find_lungs(scan, settings.lung_mask).labels_zyx > 0
        grown = dilate_mm(lungs, scan.spacing_zyx_mm, DILATION_MM)
        for nodule in nodules:
            centre = scan.world_to_voxel(tuple(nodule.centre_world_xyz))
            disc = _disc(scan, centre, nodule.diameter_mm / 2)
            z, y, x = np.rint(centre).astype(int)
            ours.append((lungs[z, y, x], lungs[z][disc].all()))
            dilated.append((grown[z, y, x], grown[z][disc].all()))
            plane = kmeans_lungs(scan.voxels_zyx[z])
            theirs.append((plane[y, x], plane[disc].all()))
    print(f"{len(ours)} nodules of the LUNA16 slices\n")
    print("| lungs | centre inside | whole disc inside |\n| --- | ---: | ---: |")
    for name, inside in ((f"ours, dilated by {DILATION_MM:g} mm", dilated), ("ours", ours), ("k-means", theirs)):
        print(f"| {name} | {np.mean([c for c, _ in inside]):.1%} | {np.mean([d for _, d in inside]):.1%} |")
    print()


def print_scans(data: Path, settings: Settings, out: Path | None) -> None:
    """Print verdict and volume of whole scans and the overlap with another label map; draw contact sheets of all."""
    print("| scan | verdict | right l | left l | symmetry | parts | median HU | Dice with lm-64 |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for path in _scans(data):
        scan = read_scan(path, settings.reading).volume
        found = find_lungs(scan, settings.lung_mask)
        is_whole = path.parent.name != "subset0"
        if out:
            out.mkdir(parents=True, exist_ok=True)
            coronal = 8 if is_whole else 0
            save_figure(lung_contours(scan, found.labels_zyx, 16, coronal), out / f"{path.stem}.png")
        if is_whole:
            dice = f"{_dice_with_labels(found.labels_zyx, data):.3f}" if path.stem == "ct-64" else ""
            q = found.quality
            print(
                f"| {path.stem} | {q.verdict} | {q.right_l:.2f} | {q.left_l:.2f} | {q.symmetry:.2f} | {q.parts} "
                f"| {q.median_hu:.0f} | {dice} |"
            )


def _scans(data: Path) -> Iterator[Path]:
    yield from sorted((data / "dicom").glob("*.zip"))
    yield from (data / "volumes" / f"{name}.nrrd" for name in ("ct-64", "ct-64-transformed"))
    yield from sorted((data / "luna16_slices" / "subset0").glob("*.mhd"))


def _dice_with_labels(labels_zyx: NDArray[np.uint8], data: Path) -> float:
    other = (read_mask(data / "volumes" / "lm-64.nrrd").voxels_zyx.astype(int) & 255) > 0  # high byte: kind of tissue
    ours = labels_zyx > 0
    return 2 * int((ours & other).sum()) / int(ours.sum() + other.sum())


def _disc(scan: Volume, centre_zyx: NDArray[np.float64], radius_mm: float) -> NDArray[np.bool_]:
    _, rows, columns = scan.shape_zyx
    _, y_mm, x_mm = scan.spacing_zyx_mm
    y, x = np.arange(rows)[:, np.newaxis] - centre_zyx[1], np.arange(columns) - centre_zyx[2]
    return np.hypot(y * y_mm, x * x_mm) <= radius_mm


if __name__ == "__main__":
    main()
