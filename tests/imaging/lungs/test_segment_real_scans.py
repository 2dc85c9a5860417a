"""Lungs of real scans, where they are at hand: against annotated nodules, another label map and a turned copy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import dilate_mm, find_lungs
from nodules.scans.read import read_scan
from nodules.scans.tables.luna import read_annotations
from nodules.scans.volume_files.reader import read_mask
from support.default_params import LUNG_MASK, READING

REAL_DATA = Path(os.environ.get("NODULES_REAL_DATA", ""))
pytestmark = pytest.mark.skipif(
    not os.environ.get("NODULES_REAL_DATA"), reason="NODULES_REAL_DATA does not name a folder of real CT"
)
DILATION_MM = 4.0
LIDC_0001_SERIES = "1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192"


def read(*parts: str) -> Volume:
    return read_scan(REAL_DATA.joinpath(*parts), READING).volume


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return 2 * int((first & second).sum()) / int(first.sum() + second.sum())


def nearest(volume: Volume, point_xyz: Sequence[float]) -> tuple[int, int, int]:
    z, y, x = np.rint(volume.world_to_voxel(point_xyz)).astype(int)
    return int(z), int(y), int(x)


def values_at(stored: Volume, wanted: Volume) -> NDArray[Any]:
    """Nearest value of a volume at the place in the world of each voxel of another one; 0 outside."""
    world_xyz = wanted.voxel_to_world(np.moveaxis(np.indices(wanted.shape_zyx), 0, -1))
    indices = np.rint(stored.world_to_voxel(world_xyz)).astype(int)
    inside = ((indices >= 0) & (indices < stored.shape_zyx)).all(axis=-1)
    values = np.zeros(wanted.shape_zyx, dtype=stored.voxels_zyx.dtype)
    values[inside] = stored.voxels_zyx[tuple(indices[inside].T)]
    return values


def disc(volume: Volume, point_xyz: Sequence[float], radius_mm: float) -> NDArray[np.bool_]:
    """True cross-section of a nodule through its centre, on the slice of the centre."""
    z, y, x = volume.world_to_voxel(point_xyz)
    _, rows, columns = volume.shape_zyx
    _, y_mm, x_mm = volume.spacing_zyx_mm
    away = np.hypot((np.arange(rows)[:, None] - y) * y_mm, (np.arange(columns) - x) * x_mm)
    mask = np.zeros(volume.shape_zyx, dtype=bool)
    mask[int(np.rint(z))] = away <= radius_mm
    return mask


class TestLuna16Slices:
    def test_centres_and_whole_discs_of_the_annotated_nodules(self) -> None:
        centres, discs, verdicts = [], [], set()
        for seriesuid, nodules in read_annotations(REAL_DATA / "luna16_slices" / "annotations.csv").items():
            scan = read("luna16_slices", "subset0", f"{seriesuid}.mhd")
            found = find_lungs(scan, LUNG_MASK)
            verdicts.add(found.quality.verdict)
            lungs = dilate_mm(found.labels_zyx, scan.spacing_zyx_mm, DILATION_MM)
            for nodule in nodules:
                centre_xyz = tuple(nodule.centre_world_xyz)
                centres.append(found.labels_zyx[nearest(scan, centre_xyz)] > 0)
                section = disc(scan, centre_xyz, nodule.diameter_mm / 2)
                assert section.any()
                discs.append(bool(lungs[section].all()))
        assert len(centres) == 112
        assert np.mean(centres) >= 0.99
        assert np.mean(discs) >= 0.97
        assert verdicts == {"ok"}


class TestDicom:
    def test_the_annotated_nodule_lies_in_soft_tissue_inside_the_lungs(self) -> None:
        scan = read("dicom", "LIDC-IDRI-0001.zip")
        (nodule,) = read_annotations(REAL_DATA / "tables" / "luna16" / "annotations.csv")[LIDC_0001_SERIES]
        centre = nearest(scan, tuple(nodule.centre_world_xyz))
        around = tuple(slice(index - 1, index + 2) for index in centre)
        assert -50 <= scan.voxels_zyx[around].mean() <= 150
        found = find_lungs(scan, LUNG_MASK)
        assert (found.labels_zyx[centre], found.quality.verdict) == (2, "ok")
        section = disc(scan, tuple(nodule.centre_world_xyz), nodule.diameter_mm / 2)
        assert (scan.voxels_zyx[section] > -300).mean() >= 0.8
        assert (found.labels_zyx[section] > 0).mean() >= 0.99

    @pytest.mark.parametrize("name", ["CPTAC-C3N-00247", "Lung-PET-CT-Dx-A0001"])
    def test_whole_lungs_are_ok(self, name: str) -> None:
        quality = find_lungs(read("dicom", f"{name}.zip"), LUNG_MASK).quality
        assert (quality.verdict, quality.whole, quality.parts) == ("ok", True, 2)
        assert 4.0 <= quality.right_l + quality.left_l <= 6.0


class TestChestOfTheImagingPlatform:
    def test_agrees_with_a_label_map_made_elsewhere(self) -> None:
        truth = (read_mask(REAL_DATA / "volumes" / "lm-64.nrrd").voxels_zyx.astype(int) & 255) > 0
        assert dice(find_lungs(read("volumes", "ct-64.nrrd"), LUNG_MASK).labels_zyx > 0, truth) >= 0.97

    def test_the_turned_copy_has_the_same_lungs_in_the_world(self) -> None:
        """The same voxels under a header turned by 20 degrees: its lungs are those of the first, put there by it."""
        expected = find_lungs(read("volumes", "ct-64.nrrd"), LUNG_MASK).labels_zyx
        stored = read_mask(REAL_DATA / "volumes" / "ct-64-transformed.nrrd").with_voxels(expected)
        turned = read("volumes", "ct-64-transformed.nrrd")
        found = find_lungs(turned, LUNG_MASK)
        assert found.quality.verdict == "ok"
        truth = values_at(stored, turned)
        assert dice(found.labels_zyx > 0, truth > 0) >= 0.95
        assert min(dice(found.labels_zyx == side, truth == side) for side in (1, 2)) >= 0.95

    def test_a_part_is_ok_and_so_is_the_whole(self) -> None:
        scan = read("volumes", "ct-64.nrrd")
        whole = find_lungs(scan, LUNG_MASK).quality
        assert (whole.verdict, whole.whole) == ("ok", True)
        for cut in (slice(20, 23), slice(0, 40), slice(35, 79)):
            part = find_lungs(scan.crop((cut, slice(0, 64), slice(0, 64))), LUNG_MASK).quality
            assert (part.verdict, part.whole) == ("ok", False)
