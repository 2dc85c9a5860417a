"""The stage on small balls: what it writes, and that an interrupted run resumes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from nodules.imaging.geometry.volume import Volume
from nodules.models.malignancy import cross_fitting
from nodules.models.malignancy.rater import MalignancyRater
from nodules.pretraining.stages import malignancy
from nodules.scans.tables.nodule_cubes import read_cube, read_cube_table
from support.nodule_cubes import write_cubes
from support.rated_cubes import PARAMS

PATIENTS, SHAPE_ZYX = 10, (26, 42, 42)
SETTINGS = replace(PARAMS, networks=1, epochs=1, steps_per_epoch=2, flips=1)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Two nodules of each patient: a large one rated 4.5 and a small one rated 1.5; one more is rated 3."""
    random = np.random.default_rng(1)
    z, y, x = np.indices(SHAPE_ZYX) - np.reshape(np.array(SHAPE_ZYX) // 2, (3, 1, 1, 1))
    distance_mm = np.sqrt((1.25 * z) ** 2 + (0.8 * y) ** 2 + (0.8 * x) ** 2)
    cubes = {}
    for patient in range(PATIENTS):
        for name, radius_mm, rating in (("large", 8.0, 4.5), ("small", 2.5, 1.5)):
            mask = distance_mm <= radius_mm
            hu = np.where(mask, 50, random.integers(-900, -800, SHAPE_ZYX))
            columns = {"patient": f"p{patient}", "seriesuid": f"1.{patient}", "malignancy": rating}
            columns["volume_mm3"] = float(4 / 3 * np.pi * radius_mm**3)
            cubes[f"{patient}-{name}.png"] = (hu, mask, columns)
    cubes["0-middle.png"] = (hu, mask, {"patient": "p0", "seriesuid": "1.0", "malignancy": 3.0})
    write_cubes(tmp_path / "data" / "nodule_cubes", cubes)
    rows = [{"scan": f"cubes-1.{one}", "source": "cubes", "patient": f"p{one}", "fold": one % 5} for one in range(10)]
    (tmp_path / "slices").mkdir()
    pd.DataFrame(rows).to_csv(tmp_path / "slices" / "manifest.csv", index=False)
    content = {"run": {"seed": 7, "max_failures": 0}, "malignancy": json.loads(json.dumps(asdict(SETTINGS)))}
    YAML().dump(content, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    return tmp_path


def run() -> None:
    malignancy.main(
        real_data=Path("data"),
        slices=Path("slices"),
        output=Path("malignancy"),
        scores=Path("scores.json"),
        predictions=Path("predictions.csv"),
    )


def test_it_writes_a_rater_its_figures_and_the_rating_of_every_nodule(project):
    run()
    table = pd.read_csv("predictions.csv")
    cubes = read_cube_table(Path("data/nodule_cubes"))
    assert list(table["file"]) == [cube.file.name for cube in cubes]
    assert table["fold"].tolist() == [int(cube.patient[1:]) % 5 for cube in cubes]
    assert table["centred_with_diameter"].between(0, 1).all()
    assert table["malignant"].isna().sum() == 1
    figures = json.loads(Path("scores.json").read_text())
    assert set(figures) == set(cross_fitting.PROBABILITIES)
    assert figures["centred"]["all_sizes"]["nodules"] == 2 * PATIENTS
    assert figures["centred"]["all_sizes"]["diameter_auc"] == 1
    scan, mask = read_cube(cubes[0])
    probability = MalignancyRater.load(Path("malignancy"))(scan, [centre_of(scan, mask)], [16.0])
    assert 0 < probability[0] < 1
    assert not list(Path(".work").glob("pretrain_malignancy/*")), "the work folder is gone"


def centre_of(scan: Volume, mask: np.ndarray) -> np.ndarray:
    return scan.voxel_to_world(np.argwhere(mask).mean(axis=0))


def test_interrupted_run_resumes_and_gives_the_same(project, monkeypatch):
    run()
    whole = Path("predictions.csv").read_bytes()
    trained: list[int] = []
    train = cross_fitting.train

    def interrupted(*arguments, seed, **named):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(seed)
        return train(*arguments, seed=seed, **named)

    monkeypatch.setattr(cross_fitting, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.setattr(
        cross_fitting, "train", lambda *a, seed, **n: (trained.append(seed), train(*a, seed=seed, **n))[1]
    )
    run()
    assert len(trained) == len(set(trained)) == 5, "no fold is trained twice"
    assert Path("predictions.csv").read_bytes() == whole
