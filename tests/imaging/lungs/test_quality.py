"""Verdicts on lung masks that are known to be right or wrong, and the second try."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs import segment
from nodules.imaging.lungs.quality import SEVERITY, LungQuality, assess_lungs
from nodules.imaging.lungs.segment import RETRY_HU, LungMaskParams, find_lungs, segment_lungs
from support import phantoms
from support.default_params import LUNG_MASK

SHAPE_ZYX, SPACING_ZYX_MM = (50, 40, 60), (4.0, 6.0, 5.0)  # 0.12 ml a voxel
RIGHT_BOX = (slice(5, 45), slice(8, 30), slice(6, 24))  # 40 x 22 x 18 voxels: 1.9008 l
LEFT_BOX = (slice(5, 45), slice(8, 30), slice(36, 52))  # 40 x 22 x 16 voxels: 1.6896 l


def boxes(lung_hu: float = -850.0) -> tuple[Volume, NDArray[np.uint8]]:
    """Two boxes of lung in a block of tissue, and their labels."""
    labels = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    labels[RIGHT_BOX], labels[LEFT_BOX] = 1, 2
    voxels = np.where(labels > 0, lung_hu, 40).astype(np.int16)
    return Volume(voxels, SPACING_ZYX_MM, (-150.0, 20.0, -700.0)), labels


def judged(labels_zyx: NDArray[np.uint8], volume: Volume | None = None) -> LungQuality:
    return assess_lungs(volume or boxes()[0], labels_zyx)


class TestAssessLungs:
    def test_counted_by_hand(self) -> None:
        quality = assess_lungs(*boxes())
        assert quality.verdict == "ok"
        assert quality.findings == ()
        assert quality.severity == 0
        assert (quality.right_l, quality.left_l) == pytest.approx((1.9008, 1.6896))
        assert quality.symmetry == pytest.approx(16 / 18)
        assert (quality.parts, quality.main_share, quality.median_hu) == (2, 1.0, -850.0)
        assert quality.border_share == 0
        assert quality.whole

    def test_an_empty_mask_is_a_verdict(self) -> None:
        quality = judged(np.zeros(SHAPE_ZYX, dtype=np.uint8))
        assert quality.verdict == "no_lungs"
        assert quality.findings == ("no lungs were found",)
        assert (quality.right_l, quality.left_l, quality.parts, quality.border_share) == (0, 0, 0, 0)
        assert np.isnan([quality.symmetry, quality.main_share, quality.median_hu]).all()
        assert quality.severity == len(SEVERITY) - 1

    @pytest.mark.parametrize(("missing", "name"), [(1, "right"), (2, "left")])
    def test_one_lung(self, missing: int, name: str) -> None:
        _, labels = boxes()
        quality = judged(np.where(labels == missing, 0, labels).astype(np.uint8))
        assert quality.verdict == "one_lung"
        assert quality.findings == (f"no {name} lung was found",)
        assert quality.symmetry == 0

    def test_a_lung_found_in_part(self) -> None:
        _, labels = boxes()
        labels[5:33, :, 36:] = 0  # 12 of 40 slices are left: 0.3 x 16/18 = 27 %
        quality = judged(labels)
        assert quality.verdict == "asymmetric"
        assert quality.findings == ("the left lung measures only 27% of the other one",)

    def test_half_a_lung_after_surgery_is_ok(self) -> None:
        _, labels = boxes()
        labels[5:23, :, 36:] = 0  # 22 of 40 slices are left: 49 %
        assert judged(labels).verdict == "ok"

    def test_too_small_within_the_scan(self) -> None:
        volume, labels = boxes()
        small = Volume(volume.voxels_zyx, (2.0, 4.0, 4.0), volume.origin_xyz_mm)  # 0.032 ml a voxel: 0.957 l
        quality = judged(labels, small)
        assert quality.verdict == "too_small"
        assert quality.findings == ("the lungs measure 0.96 l; an adult's hold at least 1 l",)

    @pytest.mark.parametrize("cut", [slice(0, 40), slice(10, 50), slice(20, 23), slice(20, 21)])
    def test_part_of_a_thorax_is_not_too_small(self, cut: slice) -> None:
        volume, labels = boxes()
        small = Volume(volume.voxels_zyx[cut], (2.0, 4.0, 4.0), volume.origin_xyz_mm)
        quality = judged(labels[cut], small)
        assert quality.verdict == "ok"
        assert not quality.whole
        assert quality.right_l + quality.left_l < 1.0

    def test_a_few_slices_of_one_lung_are_ok(self) -> None:
        volume, labels = boxes()
        labels[labels == 2] = 0
        assert judged(labels[20:30], Volume(volume.voxels_zyx[20:30], SPACING_ZYX_MM)).verdict == "ok"
        assert judged(labels[10:40], Volume(volume.voxels_zyx[10:40], SPACING_ZYX_MM)).verdict == "one_lung"

    def test_too_large_in_any_scan(self) -> None:
        volume, labels = boxes()
        huge = Volume(volume.voxels_zyx, (8.0, 9.0, 8.0))  # 0.576 ml a voxel: 17.2 l
        assert judged(labels, huge).verdict == "too_large"
        cut = slice(10, 50)
        assert judged(labels[cut], Volume(volume.voxels_zyx[cut], (8.0, 9.0, 8.0))).verdict == "too_large"

    def test_lung_along_the_edge_of_the_image(self) -> None:
        volume, labels = boxes()
        labels[5:45, 8:30, 0:6] = 1  # 22 of the 196 voxels of each section's edge
        quality = judged(labels, volume.with_voxels(np.full(SHAPE_ZYX, -850, np.int16)))
        assert quality.verdict == "touches_border"
        assert quality.border_share == pytest.approx(22 / 196)
        assert quality.findings == ("lung lies along 11.2% of the edge of the image: cut or leaked",)

    def test_pieces(self) -> None:
        _, labels = boxes()
        labels[15:20], labels[30:33] = 0, 0  # 10, 10 and 12 of 32 slices on each side
        quality = judged(labels)
        assert quality.verdict == "in_pieces"
        assert quality.parts == 6
        assert quality.main_share == pytest.approx(12 / 32)
        assert quality.findings == ("the lungs are in 6 pieces; 62% lie off the main ones",)

    @pytest.mark.parametrize("hu", [-1000, -250, 40])
    def test_what_is_not_as_dark_as_lung(self, hu: int) -> None:
        volume, labels = boxes(hu)
        quality = judged(labels, volume)
        assert quality.verdict == "odd_density"
        assert quality.findings == (f"the lungs have a median of {hu} HU; -970 to -300 is usual",)

    def test_the_worst_finding_names_the_verdict_and_all_are_told(self) -> None:
        volume, labels = boxes(-1000)
        labels[labels == 2] = 0
        quality = judged(labels, Volume(volume.voxels_zyx, (2.0, 4.0, 4.0)))
        assert quality.verdict == "odd_density"
        assert [words.split()[0] for words in quality.findings] == ["the", "the", "no"]
        assert quality.findings[2] == "no left lung was found"

    def test_other_shapes_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"expected the shape of the volume \(50, 40, 60\), got \(2, 3, 4\)"):
            judged(np.ones((2, 3, 4), dtype=np.uint8))

    @pytest.mark.parametrize("shape_zyx", [(1, 1, 1), (1, 3, 2), (3, 1, 5)])
    def test_tiny_grids(self, shape_zyx: tuple[int, int, int]) -> None:
        volume = Volume(np.full(shape_zyx, -850, np.int16), (0.6, 0.7, 0.8))
        labels = np.zeros(shape_zyx, dtype=np.uint8)
        labels[-1, -1, -1] = 2
        quality = assess_lungs(volume, labels)
        assert quality.verdict == "touches_border"
        assert quality.left_l == pytest.approx(0.6 * 0.7 * 0.8 / 1e6)


class TestFindLungs:
    def test_a_chest_is_ok_at_the_first_try(self) -> None:
        chest, _ = phantoms.simple_chest()
        found = find_lungs(chest, LUNG_MASK)
        assert found.quality.verdict == "ok"
        assert found.threshold_hu == LUNG_MASK.threshold_hu
        np.testing.assert_array_equal(found.labels_zyx, segment_lungs(chest, LUNG_MASK))
        assert 1.6 < found.quality.right_l + found.quality.left_l < 2.2  # two ellipsoids: 2 x 1.09 l, less the trachea

    def test_a_dense_lung_is_found_at_the_second_try(self) -> None:
        chest, truth = phantoms.simple_chest()
        dense = np.where((truth == 1) & (chest.voxels_zyx < -800), -330, chest.voxels_zyx).astype(np.int16)
        assert assess_lungs(chest, segment_lungs(chest.with_voxels(dense), LUNG_MASK)).verdict == "one_lung"
        found = find_lungs(chest.with_voxels(dense), LUNG_MASK)
        assert found.threshold_hu == RETRY_HU["one_lung"]
        assert found.quality.verdict == "ok"
        right = found.labels_zyx == 1
        assert 2 * (right & (truth == 1)).sum() / (right.sum() + (truth == 1).sum()) >= 0.95

    def test_tries_no_more_than_twice_and_keeps_the_first_of_equals(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried = []

        def counted(volume: Volume, params: LungMaskParams) -> NDArray[np.uint8]:
            tried.append(params)
            return segment_lungs(volume, params)

        monkeypatch.setattr(segment, "segment_lungs", counted)
        found = find_lungs(Volume(np.full((4, 30, 40), 40, np.int16), (2.5, 0.7, 0.8)), LUNG_MASK)
        assert tried == [LUNG_MASK, replace(LUNG_MASK, threshold_hu=RETRY_HU["no_lungs"])]
        assert found.quality.verdict == "no_lungs"
        assert found.threshold_hu == LUNG_MASK.threshold_hu
        assert not found.labels_zyx.any()

    def test_a_worse_second_try_is_not_kept(self) -> None:
        chest, truth = phantoms.simple_chest()
        voxels = np.where(truth == 2, phantoms.TISSUE_HU, chest.voxels_zyx).astype(np.int16)
        found = find_lungs(chest.with_voxels(voxels), LUNG_MASK)
        assert found.quality.verdict == "one_lung"
        assert found.threshold_hu == LUNG_MASK.threshold_hu

    def test_every_verdict_has_a_second_try(self) -> None:
        assert set(RETRY_HU) == set(SEVERITY) - {"ok"}

    def test_gives_the_same_twice(self) -> None:
        chest, _ = phantoms.simple_chest(noise_hu=80.0)
        first, second = find_lungs(chest, LUNG_MASK), find_lungs(chest, LUNG_MASK)
        np.testing.assert_array_equal(first.labels_zyx, second.labels_zyx)
        assert first.quality == second.quality
