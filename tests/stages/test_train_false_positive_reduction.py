"""What teaches the reducer, from files to cubes, and what a broken run leaves behind."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from nodules.imaging.candidates.proposals import CandidateParams, propose
from nodules.imaging.network_input.cube import CubeParams, cut_cubes
from nodules.models.false_positive_reduction import score_fusion
from nodules.models.false_positive_reduction.reducer import FalsePositiveReducer
from nodules.models.false_positive_reduction.sampling import VariationParams
from nodules.models.false_positive_reduction.training import FalsePositiveReductionParams
from nodules.models.false_positive_reduction.training_cubes import CubeSet, inside
from nodules.scans.result import ReadingParams
from nodules.scans.stores import segmentations
from nodules.scans.tables.luna import NoduleAnnotation, read_annotations
from nodules.stages import train_false_positive_reduction
from nodules.stages.shared.cached_reducer import load_reducer

LUNA = "data/phantoms/luna16"
STILL = VariationParams(0.0, (1.0, 1.0), 0.0, 0.0)


@pytest.fixture(scope="module")
def split(tiny_pipeline) -> pd.DataFrame:
    return pd.read_csv(tiny_pipeline.path("data/luna16/split.csv"), dtype={"seriesuid": str})


def items(project, split, listed: int = 5) -> dict:
    return train_false_positive_reduction._items(
        split, project.path(LUNA), project.path("data/luna16/segmentations"), listed
    )


def prepare(project, item, folder, cube: CubeParams, variation: VariationParams = STILL) -> dict:
    return train_false_positive_reduction.prepare_scan(
        item,
        folder,
        reading=project.params("reading", ReadingParams),
        candidates=project.params("candidates", CandidateParams),
        cube=cube,
        variation=variation,
    )


def test_test_scans_stay_out_and_only_training_scans_are_shown_more(tiny_pipeline, split):
    found = items(tiny_pipeline, split)
    parts = split.set_index("seriesuid")["part"]
    assert set(found) == set(parts.index[parts != "test"])
    annotated = read_annotations(tiny_pipeline.path(f"{LUNA}/annotations.csv"))
    for uid, (stored, nodules, excluded, file, listed) in found.items():
        assert stored.name == uid
        assert nodules == annotated.get(uid, [])
        assert excluded == []  # phantoms have no such table
        assert len(listed) == (5 if parts[uid] == "train" else 0)
        assert (file is not None) == (parts[uid] == "train")
        assert file is None or file.is_file()


def test_table_of_candidates_and_segmentations_may_be_missing(tiny_copy, split):
    tiny_copy.path(f"{LUNA}/candidates.csv").unlink()
    found = items(tiny_copy, split)
    assert all(listed == [] for *_, listed in found.values())
    gone = next(iter(found))
    tiny_copy.path(f"data/luna16/segmentations/{gone}").rename(tiny_copy.path("elsewhere"))
    assert set(items(tiny_copy, split)) == set(found) - {gone}


def test_cubes_of_a_validation_scan_are_those_of_its_scoring(tiny_pipeline, split, tmp_path):
    uid = split["seriesuid"][split["part"] == "validation"].iloc[0]
    item, cube = (
        items(tiny_pipeline, split)[uid],
        tiny_pipeline.params("false_positive_reduction", FalsePositiveReductionParams).cube,
    )
    row = prepare(tiny_pipeline, item, tmp_path, cube)
    stored = segmentations.load(item[0])
    table = propose(stored, tiny_pipeline.params("candidates", CandidateParams)).table
    centres = table[["x_mm", "y_mm", "z_mm"]].to_numpy()
    cubes = CubeSet.load(tmp_path / uid)
    np.testing.assert_array_equal(cubes.hu, cut_cubes(stored.scan, centres, cube.side_mm, cube.size_px))
    np.testing.assert_array_equal(cubes.is_nodule, inside(centres, item[1]).any(axis=1))
    assert row["proposals"] == len(table) == len(pd.read_csv(tmp_path / uid / "proposals.csv"))
    assert row["nodules"] == len(item[1])
    reducer = FalsePositiveReducer.load(tiny_pipeline.path("models/false_positive_reduction"))
    evidence = score_fusion.evidence(reducer.log_odds(cubes.hu), table)
    np.testing.assert_allclose(reducer.fusion.probability(evidence), reducer(stored, table), atol=1e-7)


def test_training_cubes_are_whole_where_the_network_saw_nothing(tiny_pipeline, split, tmp_path):
    """A missed nodule: the stored segmentation has air there, the scan has tissue."""
    uid = split["seriesuid"][split["part"] == "train"].iloc[0]
    maps, _, _, file, _ = items(tiny_pipeline, split)[uid]
    stored = segmentations.load(maps)
    unseen = (stored.scan.voxels_zyx == -1000) & (stored.lungs_zyx > 0)
    depth_mm = ndimage.distance_transform_edt(np.pad(unseen, 1), sampling=stored.scan.spacing_zyx_mm)
    z, y, x = np.array(np.unravel_index(depth_mm.argmax(), depth_mm.shape)) - 1
    place = tuple(float(value) for value in stored.scan.voxel_to_world([z, y, x]))
    cube = CubeParams(80.0, 20, (-1000.0, 400.0))
    missed = [NoduleAnnotation(uid, place, 4.0)]
    row = prepare(tiny_pipeline, (maps, missed, [], file, []), tmp_path, cube)
    assert (row["nodules"], row["nodules_proposed"]) == (1, 0)
    cubes = CubeSet.load(tmp_path / uid)
    assert cubes.is_nodule.tolist() == [False] * row["proposals"] + [True]
    gaps = cut_cubes(stored.scan, [place], 80.0, 20)[0]
    whole = cubes.hu[-1]
    assert (gaps == -1000).mean() > 0.05
    assert (whole == -1000).mean() < (gaps == -1000).mean() / 2
    seen = stored.scan.with_voxels(np.where(stored.scan.voxels_zyx != -1000, 0, -1000).astype(np.int16))
    kept = cut_cubes(seen, [place], 80.0, 20)[0] == 0  # where all that is interpolated between was kept
    assert kept.sum() > 100
    assert np.abs(whole[kept].astype(int) - gaps[kept]).max() <= 1, "the same grid, the same HU"


def test_what_some_readers_took_for_a_nodule_teaches_nothing(tiny_pipeline, split, tmp_path):
    uid = split["seriesuid"][split["part"] == "train"].iloc[0]
    maps, nodules, _, file, listed = items(tiny_pipeline, split)[uid]
    cube = tiny_pipeline.params("false_positive_reduction", FalsePositiveReductionParams).cube
    folders = [tmp_path / "with", tmp_path / "without"]
    for folder in folders:
        folder.mkdir()
    everywhere = [NoduleAnnotation(uid, nodules[0].centre_world_xyz, 2000.0)]
    plain = prepare(tiny_pipeline, (maps, nodules, [], file, listed), folders[0], cube)
    spared = prepare(tiny_pipeline, (maps, nodules, everywhere, file, listed), folders[1], cube)

    before, after = (CubeSet.load(folder / uid).is_nodule for folder in folders)
    assert (~before).any()
    assert after.tolist() == before[before].tolist()
    assert spared["nodules_proposed"] == plain["nodules_proposed"]
    assert spared["proposals"] < plain["proposals"] + 1


def test_a_run_that_breaks_leaves_the_earlier_reducer_whole(tiny_copy, monkeypatch):
    before = {file.name: file.read_bytes() for file in tiny_copy.path("models/false_positive_reduction").iterdir()}

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FalsePositiveReducer, "save", broken)
    with pytest.raises(KeyboardInterrupt):
        tiny_copy.run("train_false_positive_reduction")
    assert {
        file.name: file.read_bytes() for file in tiny_copy.path("models/false_positive_reduction").iterdir()
    } == before


def test_second_run_gives_the_same_bytes(tiny_pipeline, tiny_copy):
    tiny_copy.run("train_false_positive_reduction")
    for name in (
        "models/false_positive_reduction/false_positive_reduction.json",
        "models/false_positive_reduction/false_positive_reduction.weights.h5",
        "models/metrics/false_positive_reduction.json",
    ):
        assert tiny_copy.path(name).read_bytes() == tiny_pipeline.path(name).read_bytes(), name


def test_new_reducer_under_an_old_name_is_used(tiny_copy):
    """A Dask worker may score before and after a training."""
    folder = tiny_copy.path("models/false_positive_reduction")
    first = load_reducer(folder)
    assert load_reducer(folder) is first, "once per process"
    settings = json.loads((folder / "false_positive_reduction.json").read_text())
    settings["fusion"]["intercept"] = 12.5
    (folder / "false_positive_reduction.json").write_text(json.dumps(settings))
    assert load_reducer(folder).fusion.intercept == 12.5
