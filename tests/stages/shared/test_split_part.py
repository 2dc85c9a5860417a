"""The scans of a part, evaluated with one scorer and several settings, from segmentations on the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest

from nodules.imaging.candidates import proposals as judged_proposals
from nodules.imaging.candidates.outline import SegmentationSettings, find_candidates
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams, unet_scorer
from nodules.imaging.geometry.volume import Volume
from nodules.scans.stores import segmentations
from nodules.stages.shared import cached_reducer
from nodules.stages.shared.cached_reducer import reducer_scorer
from nodules.stages.shared.split_part import SplitPart

PARAMS = CandidateParams(3.0, 0.1, 0.3, 0.3)
SHAPE, SPACING, ORIGIN = (42, 24, 30), (2.5, 1.0, 1.2), (-20.0, 15.0, 80.0)
BOXES = {"1.1": [(10, 8, 6), (30, 16, 22)], "1.2": [(20, 12, 15)], "1.3": []}
TRUTH = {"1.1": [0], "1.2": [0], "1.3": []}  # which of the boxes is annotated


def box(centre) -> tuple[slice, slice, slice]:
    z, y, x = centre
    return slice(z - 1, z + 2), slice(y - 2, y + 3), slice(x - 2, x + 3)


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SplitPart:
    """Validation scans 1.1, 1.2 and 1.3; 1.4 is not segmented and 1.5 is for training."""
    monkeypatch.setenv("NODULES_JOBS", "1")
    rows = []
    for uid, centres in BOXES.items():
        probability = np.zeros(SHAPE, np.float32)
        for centre in centres:
            probability[box(centre)] = 0.8
        scan = Volume(np.full(SHAPE, -850, np.int16), SPACING, ORIGIN)
        segmentations.save(Segmentation(scan, np.ones(SHAPE, np.uint8), probability), tmp_path / "maps" / uid)
        for number in TRUTH[uid]:
            rows.append((uid, *scan.voxel_to_world(centres[number]).tolist(), 7.0))
    columns = ["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "annotations.csv", index=False)
    split = pd.DataFrame({"seriesuid": ["1.3", "1.2", "1.1", "1.4", "1.5"], "part": ["validation"] * 4 + ["train"]})
    split.to_csv(tmp_path / "split.csv", index=False)
    with joblib.parallel_config(backend="sequential"):
        yield SplitPart.load("validation", tmp_path, tmp_path / "split.csv", tmp_path / "maps")


def high_ones(segmentation: Segmentation, table: pd.DataFrame) -> np.ndarray:
    """0.9 above the middle of the scan, else 0.3: the annotated nodule of 1.1 is the low one."""
    return np.where(table["z_mm"] > ORIGIN[2] + 50.1, 0.9, 0.3)


def test_segmented_scans_of_the_part(part: SplitPart) -> None:
    assert list(part.segmentations) == ["1.1", "1.2", "1.3"]
    assert [len(found) for found in part.nodules.values()] == [1, 1, 0]
    root = part.segmentations["1.1"].parents[1]
    with pytest.raises(ValueError, match="no scan of the part 'test' is segmented"):
        SplitPart.load("test", root, root / "split.csv", Path("maps"))


def test_without_a_scorer_the_map_decides(part: SplitPart) -> None:
    (results,) = part.evaluate([SegmentationSettings(0.5, 2.0, 0.5)], PARAMS)
    assert [result.seriesuid for result in results] == ["1.1", "1.2", "1.3"]
    assert [result.fates for result in results] == [["found"], ["found"], []]
    np.testing.assert_allclose(results[0].candidates["probability"], 0.8, rtol=1e-6)


def test_a_scored_part_asks_each_scan_once_for_all_settings(part: SplitPart) -> None:
    asked = []

    def scorer(segmentation, table):
        asked.append(len(table))
        return high_ones(segmentation, table)

    scored = part.scored(PARAMS, scorer)
    assert asked == [2, 1]  # 1.3 has no proposals
    assert [proposals.probabilities.tolist() for proposals in scored.scored_proposals.values()] == [
        [0.3, 0.9],
        [0.3],
        [],
    ]
    for _ in range(2):
        every, few = scored.evaluate([SegmentationSettings(0.5, 2.0, lowest) for lowest in (0.0, 0.5)], PARAMS)
        assert [len(result.candidates) for result in every] == [2, 1, 0]
        assert [result.fates for result in few] == [["filtered"], ["filtered"], []]
        assert [result.false_positives for result in few] == [1, 0, 0]
    assert asked == [2, 1]
    assert not part.scored_proposals


def test_excluded_findings_count_neither_for_nor_against(part: SplitPart) -> None:
    root = part.segmentations["1.1"].parents[1]
    scan = segmentations.load(part.segmentations["1.1"]).scan
    ((plain, *_),) = part.evaluate([SegmentationSettings(0.5, 2.0)], PARAMS)
    for diameter_mm in (7.0, -1.0):  # LUNA16 writes an unknown diameter as -1
        row = ("1.1", *scan.voxel_to_world(BOXES["1.1"][1]).tolist(), diameter_mm)
        columns = ["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"]
        pd.DataFrame([row], columns=columns).to_csv(root / "annotations_excluded.csv", index=False)

        spared = SplitPart.load("validation", root, root / "split.csv", root / "maps")

        ((result, *_),) = spared.evaluate([SegmentationSettings(0.5, 2.0)], PARAMS)
        assert (plain.false_positives, result.false_positives) == (1, 0)
        assert (len(plain.detections.false_positive_probabilities), plain.detections.ignored) == (1, 0)
        assert (len(result.detections.false_positive_probabilities), result.detections.ignored) == (0, 1)
        assert (result.scores, result.fates) == (plain.scores, plain.fates)
        assert result.predicted_voxels == plain.predicted_voxels


def test_candidates_of_one_scan_have_the_known_probabilities(part: SplitPart) -> None:
    scored = part.scored(PARAMS, high_ones)
    segmentation = segmentations.load(part.segmentations["1.1"])
    found = find_candidates(segmentation, SegmentationSettings(0.5, 2.0), PARAMS, scored.scorer("1.1"))
    assert found.table["probability"].tolist() == [0.9, 0.3]
    assert found.table["label"].tolist() == [2, 1]


def test_other_proposals_than_were_scored_are_refused(part: SplitPart) -> None:
    scored = part.scored(PARAMS, high_ones)
    with pytest.raises(ValueError, match=r"was scored with .*min_diameter_mm=3\.0.* got .*min_diameter_mm=4\.0"):
        scored.evaluate([SegmentationSettings(0.5, 2.0)], replace(PARAMS, min_diameter_mm=4.0))
    segmentation = segmentations.load(part.segmentations["1.1"])
    with pytest.raises(ValueError, match="scorer: expected 2 probabilities"):
        find_candidates(segmentation, SegmentationSettings(0.5, 2.0), PARAMS, scored.scorer("1.2"))


def test_a_scored_part_is_proposed_on_once(part: SplitPart, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [SegmentationSettings(0.5, 2.0, 0.5), SegmentationSettings(0.3, 0.0)]
    fresh = part.evaluate(settings, PARAMS)
    scored = part.scored(PARAMS, unet_scorer)
    monkeypatch.setattr(judged_proposals, "propose", None)
    for results, wanted in zip(scored.evaluate(settings, PARAMS), fresh, strict=True):
        for result, other in zip(results, wanted, strict=True):
            pd.testing.assert_frame_equal(result.candidates, other.candidates)
            assert (result.scores, result.fates, result.predicted_voxels, result.false_positives) == (
                other.scores,
                other.fates,
                other.predicted_voxels,
                other.false_positives,
            )


def test_reducer_is_loaded_from_its_folder_where_it_scores(part: SplitPart, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def load(folder: Path):
        loaded.append(folder)
        return high_ones

    monkeypatch.setattr(cached_reducer, "load_reducer", load)
    scorer = reducer_scorer(Path("models/false_positive_reduction"))
    assert loaded == []
    scored = part.scored(PARAMS, scorer)
    assert set(loaded) == {Path("models/false_positive_reduction")}
    assert scored.scored_proposals["1.1"].probabilities.tolist() == [0.3, 0.9]
