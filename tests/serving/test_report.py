"""What a report says about each nodule."""

import json
from types import SimpleNamespace

import numpy as np

from nodules.imaging.candidates.outline import SegmentationSettings, find_candidates
from nodules.imaging.candidates.probability_map import Segmentation
from nodules.imaging.candidates.proposals import CandidateParams
from nodules.imaging.geometry.volume import Volume
from nodules.scans.result import Verdict
from nodules.serving.report import diagnosis_report

FEATURES = {f"feature{number:02d}": float(number) for number in range(14)} | {"unknown": float("nan")}
MOVED = {f"feature{number:02d}": (number - 6) / 10 for number in range(14)} | {"unknown": 0.65, "base": -1.3}


def answer(probability: np.ndarray, malignancy: float = float("nan"), /, **changes) -> dict:
    scan = Volume(np.full(probability.shape, 35, np.int16), (2.0, 1.0, 1.5), (-30.0, 12.0, 100.0))
    lungs = np.full(probability.shape, 2, np.uint8)
    segmentation = Segmentation(scan, lungs, probability.astype(np.float32))
    candidates = find_candidates(segmentation, SegmentationSettings(0.5, 0.0), CandidateParams(3.0, 0.1, 0.3, 0.3))
    diagnosis = {
        "probability": 0.25,
        "suspicion": None,
        "candidates": candidates.table.assign(malignancy=malignancy),
        "verdict": Verdict("ok"),
        "features": FEATURES,
        "contributions": MOVED,
    }
    return diagnosis_report(SimpleNamespace(**diagnosis | changes))


def test_a_nodule_by_hand():
    """4 x 5 x 6 voxels of 3 mm3 around the index (7.5, 10, 14.5)."""
    probability = np.zeros((20, 24, 30))
    probability[6:10, 8:13, 12:18] = 0.75
    said = answer(probability)
    (nodule,) = json.loads(json.dumps(said))["nodules"]
    sphericity = nodule.pop("sphericity")
    assert 0.7 < sphericity <= 1.0
    assert nodule == {
        "x_mm": -8.25,
        "y_mm": 22.0,
        "z_mm": 115.0,
        "diameter_mm": round((6 * 360 / np.pi) ** (1 / 3), 6),
        "volume_mm3": 360.0,
        "probability": 0.75,
        "malignancy": None,
        "mean_hu": 35.0,
        "pleura_mm": 8.0,  # row 8 to row 0; slice 6 is 12 mm from slice 0
        "lung": 2,
    }
    assert (said["probability"], said["suspicion"]) == (0.25, None)


def test_report_of_a_chain_that_rates_but_does_not_classify():
    probability = np.zeros((20, 24, 30))
    probability[6:10, 8:13, 12:18] = 0.75
    said = answer(probability, 0.4, probability=None, suspicion=0.3, contributions={})
    said = json.loads(json.dumps(said, allow_nan=False))
    assert (said["probability"], said["suspicion"], said["explanation"]) == (None, 0.3, [])
    assert [nodule["malignancy"] for nodule in said["nodules"]] == [0.4]


def test_no_nodules():
    assert answer(np.zeros((20, 24, 30)))["nodules"] == []


def test_explanation_names_what_moved_the_probability_most():
    moved = json.loads(json.dumps(answer(np.zeros((20, 24, 30))), allow_nan=False))["explanation"]
    assert len(moved) == 10
    assert moved[0] == {"name": "feature13", "value": 13.0, "log_odds": 0.7}
    assert moved[1] == {"name": "unknown", "value": None, "log_odds": 0.65}
    assert [item["name"] for item in moved[2:4]] == ["feature00", "feature12"], "the same size either way: by name"
    sizes = [abs(item["log_odds"]) for item in moved]
    assert sizes == sorted(sizes, reverse=True)
    assert "feature06" not in {item["name"] for item in moved}, "it moved nothing"
    assert "base" not in {item["name"] for item in moved}
