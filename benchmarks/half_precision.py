"""What half precision changes in the probability map of a scan.

Run it as `python benchmarks/half_precision.py --scan DATA/dicom/LIDC-IDRI-0001.zip`, DATA being the folder that
NODULES_REAL_DATA names. The segmenter answers the scan in float32 and in the precision that `mixed_precision` means on
this machine; printed are the differences wherever one of the two sees anything, and how far their outlines agree.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodules import params
from nodules.evaluation.segmentation import dice
from nodules.imaging import lung_roi
from nodules.imaging.lung_mask import LungMaskParams, find_lungs
from nodules.imaging.lung_roi import LungRoi
from nodules.models import devices
from nodules.models.segmenter import Segmenter
from nodules.scans.reading import ReadingParams
from nodules.scans.scan import read_scan

SEEN = 0.02
OUTLINES = (0.1, 0.3, 0.5)


def main() -> None:
    """Answer the scan twice and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--segmenter", type=Path, default=Path("models/segmenter"))
    arguments = parser.parse_args()

    stored = Segmenter.load(arguments.segmenter)
    scan = read_scan(arguments.scan, params.load("reading", ReadingParams)).volume
    lungs = find_lungs(scan, params.load("lung_mask", LungMaskParams)).labels_zyx
    region = lung_roi.extract(scan, lungs, stored.roi)
    single, half = (answer(stored, region, mixed_precision=mixed) for mixed in (False, True))
    print(f"{arguments.scan.stem}, {devices.policy(mixed_precision=True)} against float32")
    print_differences(single, half)


def answer(stored: Segmenter, region: LungRoi, *, mixed_precision: bool) -> NDArray[np.float32]:
    """Map (Z, Y, X) of the region by the stored networks in one precision."""
    asking = replace(stored.settings.segmenter, mixed_precision=mixed_precision)
    return Segmenter(stored.networks, replace(stored.settings, segmenter=asking)).predict(region)


def print_differences(single: NDArray[np.float32], half: NDArray[np.float32]) -> None:
    """Print the differences of two maps, and the Dice of their outlines at several probabilities."""
    difference = np.abs(half - single)[np.maximum(single, half) > SEEN]
    print(f"where a map is above {SEEN}: {difference.mean():.3f} on average, {difference.max():.2f} at most")
    for probability in OUTLINES:
        agreement = dice(single >= probability, half >= probability)
        print(f"outlines at {probability}: Dice {agreement:.3f}")


if __name__ == "__main__":
    main()
