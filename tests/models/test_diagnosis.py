"""Diagnoses by chains with and without a classifier and a network for malignancy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nodules.imaging.features.measure import FEATURES, MALIGNANCY_FEATURES
from nodules.imaging.geometry.volume import Volume
from nodules.models.cancer import files as classifier_files
from nodules.models.cancer.classifier import Classifier
from nodules.models.cancer.estimators import ConstantModel
from nodules.models.chain import ChainError, chain_folder
from nodules.models.diagnosis import Diagnoser, Diagnosis
from nodules.scans.read import read_scan
from nodules.scans.result import Reading
from support.tiny_project import TinyProject


@pytest.fixture(scope="module")
def reading(tiny_pipeline: TinyProject, rating_chain: Path) -> Reading:
    """The patient with the most candidates."""
    table = pd.read_csv(tiny_pipeline.path("data/dsb/features/features.csv"), dtype={"id": str})
    patient = table.sort_values("candidate_count")["id"].iloc[-1]
    return read_scan(tiny_pipeline.path(f"data/phantoms/dsb/{patient}"), Diagnoser.load(rating_chain).reading)


@pytest.fixture(scope="module")
def unrating_chain(keen_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chain of `keen_model`, without a network for malignancy and with a classifier that needs none."""
    folder = tmp_path_factory.mktemp("unrating") / "chain"
    shutil.copytree(chain_folder(keen_model), folder)
    for part in ("malignancy", "classifier"):
        shutil.rmtree(folder / part, ignore_errors=True)
    classifier_files.save(Classifier("prior", (), {"prior": ConstantModel(0.25)}, None), folder / "classifier")
    return folder


@pytest.fixture(scope="module")
def rated(rating_chain: Path, reading: Reading) -> Diagnosis:
    return Diagnoser.load(rating_chain).diagnose(reading)


def test_chain_without_a_classifier_has_suspicion_and_no_probability(rated):
    assert rated.probability is None
    assert rated.contributions == {}
    assert len(rated.candidates) > 0
    assert list(rated.features) == [*FEATURES, *MALIGNANCY_FEATURES]


def test_suspicion_is_the_noisy_or_of_the_nodules(rated):
    malignancy = rated.candidates["malignancy"]
    assert malignancy.between(0, 1, inclusive="neither").all()
    missed = 1 - rated.candidates["probability"] * malignancy
    assert rated.suspicion == pytest.approx(1 - missed.prod())
    assert 0 < rated.suspicion < 1


def test_chain_without_a_rater_has_a_probability_and_no_suspicion(unrating_chain, reading, rated):
    found = Diagnoser.load(unrating_chain).diagnose(reading)
    assert (found.probability, found.suspicion) == (0.25, None)
    assert found.candidates["malignancy"].isna().all()
    others = [name for name in found.candidates if name != "malignancy"]
    pd.testing.assert_frame_equal(found.candidates[others], rated.candidates[others])
    assert list(found.features) == list(FEATURES)


def test_chain_with_both(unrating_chain, rating_chain, reading, rated, tmp_path):
    shutil.copytree(unrating_chain, tmp_path / "both")
    shutil.copytree(rating_chain / "malignancy", tmp_path / "both" / "malignancy")
    found = Diagnoser.load(tmp_path / "both").diagnose(reading)
    assert (found.probability, found.suspicion) == (0.25, rated.suspicion)


def test_scan_without_lungs_has_no_nodules_and_no_suspicion(rating_chain):
    block = Volume(np.full((20, 40, 40), 40, np.int16), (6.0, 5.0, 5.0))
    found = Diagnoser.load(rating_chain).diagnose(Reading(block, "NIfTI"))
    assert found.candidates.empty
    assert "malignancy" in found.candidates
    assert (found.probability, found.suspicion) == (None, 0.0)


def test_chain_with_neither_finds_the_same_nodules(rating_chain, reading, rated, tmp_path):
    shutil.copytree(rating_chain, tmp_path / "chain")
    shutil.rmtree(tmp_path / "chain" / "malignancy")
    found = Diagnoser.load(tmp_path / "chain").diagnose(reading)
    assert (found.probability, found.suspicion) == (None, None)
    assert found.candidates["label"].tolist() == rated.candidates["label"].tolist()


def test_incomplete_chain_is_refused(rating_chain, tmp_path):
    shutil.copytree(rating_chain, tmp_path / "chain")
    shutil.rmtree(tmp_path / "chain" / "false_positive_reduction")
    with pytest.raises(ChainError, match="missing: false_positive_reduction"):
        Diagnoser.load(tmp_path / "chain")


def test_excerpt_is_outlined_on_its_own_grid(rating_chain, reading, rated):
    """Around the first nodule; in the excerpt the network sees less of the chest, so only most voxels must agree."""
    first = rated.candidates.iloc[0]
    z, y, x = (round(float(v)) for v in reading.volume.world_to_voxel(first[["x_mm", "y_mm", "z_mm"]].tolist()))
    box = tuple(slice(max(0, place - 7), place + 8) for place in (z, y, x))
    excerpt = reading.volume.crop(box)
    found = Diagnoser.load(rating_chain).outline_excerpt(excerpt)
    assert found.shape == excerpt.shape_zyx
    wanted = rated.nodules.voxels_zyx[box] == first["label"]
    overlap = np.count_nonzero((found > 0) & wanted)
    assert overlap > 0.5 * np.count_nonzero(wanted)
