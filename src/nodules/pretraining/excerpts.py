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
from scipy import ndimage

from nodules.imaging.geometry.spheres import draw_nodules
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import LungMaskParams, find_lungs
from nodules.scans.lidc.outlines import MAJORITY
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams, ScanError
from nodules.scans.tables.luna import NoduleAnnotation, read_annotations
from nodules.scans.volume_files.reader import read_mask


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
    readers_zyx : (Z, Y, X) ndarray, optional
        How many readers outlined each voxel as part of a nodule.
    """

    seriesuid: str
    number: int
    scan: Volume
    lungs: Volume
    middle: int
    nodules: list[NoduleAnnotation]
    readers_zyx: NDArray[np.uint8] | None = None

    @property
    def name(self) -> str:
        """Unique name among the excerpts of a data set."""
        return f"{self.seriesuid}-{self.number}"

    def truth_yx(self) -> NDArray[np.uint16]:
        """Discs of the annotated diameters on the pixels of the middle slice; label 1 is the excerpt's own nodule."""
        centres = [nodule.centre_world_xyz for nodule in self.nodules]
        diameters = [nodule.diameter_mm for nodule in self.nodules]
        return draw_nodules(self.scan, centres, diameters)[self.middle]

    def marked_yx(self) -> NDArray[np.bool_]:
        """Pixels of the middle slice that any reader outlined; all False where the outlines are not known."""
        if self.readers_zyx is None:
            return np.zeros(self.scan.shape_zyx[1:], dtype=bool)
        return self.readers_zyx[self.middle] > 0

    def outlined_yx(self) -> NDArray[np.uint16]:
        """What most readers outlined on the middle slice; label 1 is what touches the disc of the excerpt's own nodule.

        Raises
        ------
        ValueError
            If the outlines are not known.
        """
        if self.readers_zyx is None:
            raise ValueError(f"{self.name}: read without the readers' outlines")
        parts = ndimage.label(self.readers_zyx[self.middle] >= MAJORITY, np.ones((3, 3)))[0]
        own = np.setdiff1d(parts[self.truth_yx() == 1], [0])
        return np.where(np.isin(parts, own), 1, np.where(parts > 0, parts + 1, 0)).astype(np.uint16)


def series(root: Path) -> dict[str, Path]:
    """Files of the annotated series in all subsets, by series UID.

    Raises
    ------
    ScanError
        If there is none.
    """
    annotated = read_annotations(root / "annotations.csv")
    files = {file.stem: file for file in sorted(root.glob("subset*/*.mhd")) if file.stem in annotated}
    if not files:
        raise ScanError(f"{root}: no subset*/*.mhd is among the series of annotations.csv")
    return files


def readers_file(readers: Path, file: Path) -> Path:
    """File of the readers' outlines that belongs to the file of a series."""
    return readers / file.parent.name / f"{file.stem}.nii.gz"


def read_excerpts(
    root: Path, seriesuid: str, reading: ReadingParams, lung_mask: LungMaskParams, readers: Path | None = None
) -> list[Excerpt]:
    """Cut the excerpts of one series; the lungs are found on all its slices together.

    Parameters
    ----------
    readers : Path, optional
        Folder like `root` with a .nii.gz for each series: how many readers outlined each voxel.

    Raises
    ------
    ScanError
        If a file is missing or damaged, or the readers' file is on another grid.
    """
    file = series(root)[seriesuid]
    volume = read_scan(file, reading).volume
    counts = _reader_counts(readers_file(readers, file), volume) if readers else None
    lungs = find_lungs(volume, lung_mask).labels_zyx
    return list(_cut(seriesuid, volume, lungs, read_annotations(root / "annotations.csv")[seriesuid], counts))


def _reader_counts(file: Path, scan: Volume) -> NDArray[np.uint8]:
    counts = read_mask(file)
    places = ([0, 0, 0], scan.shape_zyx)
    same = counts.shape_zyx == scan.shape_zyx and np.allclose(
        counts.voxel_to_world(places), scan.voxel_to_world(places), atol=0.1
    )
    if not same:
        raise ScanError(f"{file}: expected the grid of the series, {scan.shape_zyx}, got another, {counts.shape_zyx}")
    return counts.voxels_zyx


def _cut(
    seriesuid: str,
    volume: Volume,
    lungs: NDArray[np.uint8],
    nodules: list[NoduleAnnotation],
    counts: NDArray[np.uint8] | None,
) -> Iterator[Excerpt]:
    heights = [float(volume.world_to_voxel(nodule.centre_world_xyz)[0]) for nodule in nodules]
    for number, (nodule, height) in enumerate(zip(nodules, heights, strict=True)):
        first = max(0, round(height) - 1)
        last = min(volume.shape_zyx[0] - 1, round(height) + 1)
        _, height_px, width_px = volume.shape_zyx
        box = (slice(first, last + 1), slice(0, height_px), slice(0, width_px))
        beside = [
            other
            for other, z in zip(nodules, heights, strict=True)
            if other is not nodule and first - 0.5 <= z <= last + 0.5
        ]
        yield Excerpt(
            seriesuid=seriesuid,
            number=number,
            scan=volume.crop(box),
            lungs=volume.crop(box).with_voxels(lungs[box]),
            middle=round(height) - first,
            nodules=[nodule, *beside],
            readers_zyx=None if counts is None else counts[box[0]],
        )
