"""Excerpts of annotated scans: the three slices through each nodule, as the real test slices are stored.

The files hold the slices z - 1, z and z + 1 of every annotated nodule of a LUNA16 series, one excerpt after the other.
In-plane geometry is true, and z is true within an excerpt but not between excerpts. A nodule of one excerpt must not be
drawn into the next, so each excerpt is treated as a scan of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.spheres import draw_nodules
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import LungMaskParams, find_lungs
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams
from nodules.scans.tables.luna import NoduleAnnotation, read_annotations


@dataclass(frozen=True)
class Excerpt:
    """The middle slice of a nodule with its neighbours.

    Attributes
    ----------
    seriesuid : str
        Series of the scan; each LUNA16 patient has one scan.
    number : int
        Number of the nodule in the scan.
    scan, lungs : Volume
        HU and lung labels of at most three slices.
    middle : int
        Index of the nodule's middle slice.
    nodules : list of NoduleAnnotation
        All nodules whose centre lies in these slices, the excerpt's own first.
    """

    seriesuid: str
    number: int
    scan: Volume
    lungs: Volume
    middle: int
    nodules: list[NoduleAnnotation]

    @property
    def name(self) -> str:
        """Unique name among the excerpts of a data set."""
        return f"{self.seriesuid}-{self.number}"

    def truth_yx(self) -> NDArray[np.uint16]:
        """Discs of the annotated diameters on the pixels of the middle slice; label 1 is the excerpt's own nodule."""
        centres = [nodule.centre_world_xyz for nodule in self.nodules]
        diameters = [nodule.diameter_mm for nodule in self.nodules]
        return draw_nodules(self.scan, centres, diameters)[self.middle]


def series(root: Path) -> dict[str, Path]:
    """Files of the annotated series, by series UID."""
    return {file.stem: file for file in sorted((root / "subset0").glob("*.mhd"))}


def read_excerpts(root: Path, seriesuid: str, reading: ReadingParams, lung_mask: LungMaskParams) -> list[Excerpt]:
    """Cut the excerpts of one series; the lungs are found on all its slices together."""
    volume = read_scan(series(root)[seriesuid], reading).volume
    lungs = find_lungs(volume, lung_mask).labels_zyx
    return list(_cut(seriesuid, volume, lungs, read_annotations(root / "annotations.csv")[seriesuid]))


def folds(seriesuids: list[str], count: int, seed: int) -> dict[str, int]:
    """Assign each series to a fold at random."""
    numbers = np.random.default_rng(seed).permutation(len(seriesuids)) % count
    return dict(zip(sorted(seriesuids), numbers.tolist(), strict=True))


def _cut(
    seriesuid: str, volume: Volume, lungs: NDArray[np.uint8], nodules: list[NoduleAnnotation]
) -> Iterator[Excerpt]:
    heights = [float(volume.world_to_voxel(nodule.centre_world_xyz)[0]) for nodule in nodules]
    whole = (slice(None), slice(None))
    for number, (nodule, height) in enumerate(zip(nodules, heights, strict=True)):
        first = max(0, round(height) - 1)
        last = min(volume.shape_zyx[0] - 1, round(height) + 1)
        box = (slice(first, last + 1), *(slice(0, size) for size in volume.shape_zyx[1:]))
        beside = [
            other
            for other, z in zip(nodules, heights, strict=True)
            if other is not nodule and first - 0.5 <= z <= last + 0.5
        ]
        yield Excerpt(
            seriesuid=seriesuid,
            number=number,
            scan=volume.crop(box),
            lungs=volume.crop(box).with_voxels(lungs[(box[0], *whole)]),
            middle=round(height) - first,
            nodules=[nodule, *beside],
        )
