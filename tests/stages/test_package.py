"""The promotion gate as the stage applies it: what the registry holds after a good, a worse and a useless model."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from mlflow import MlflowClient

from support.tiny_project import TinyProject

NAME = "lung-cancer-diagnosis"
CHAMPION_CHANCES = {1: 0.8, 0: 0.2}


@pytest.fixture
def project(tiny_copy: TinyProject) -> TinyProject:
    """A registry of its own, in which nothing is champion yet."""
    client = MlflowClient(tiny_copy.tracking_uri)
    for alias in ("champion", "challenger"):
        client.delete_registered_model_alias(NAME, alias)
    return tiny_copy


def judged(project: TinyProject, skill: float, skill_low: float, probabilities: dict[int, float]) -> None:
    """Pretend that validation found this skill, and gave these probabilities by label."""
    metrics = project.path("models/metrics/classifier.json")
    numbers = json.loads(metrics.read_text())
    numbers["validated"] |= {"skill": skill, "skill_low": skill_low, "skill_high": 0.5}
    metrics.write_text(json.dumps(numbers))
    table = project.path("models/plots/classifier/out_of_fold.csv")
    predictions = pd.read_csv(table, dtype={"id": str})
    predictions.assign(chosen=predictions["label"].map(probabilities)).to_csv(table, index=False)


def test_gate(project, capsys):
    client = MlflowClient(project.tracking_uri)
    aliases = []
    for skill, skill_low, probabilities in (
        (-0.1, -0.4, CHAMPION_CHANCES),  # no skill
        (0.2, -0.1, CHAMPION_CHANCES),  # positive, not proven
        (0.2, -0.1, {1: 0.9, 0: 0.1}),  # no better proven
        (0.3, 0.2, {1: 0.7, 0: 0.3}),  # worse than the champion
        (0.3, 0.1, {1: 0.9, 0: 0.1}),  # better
    ):
        judged(project, skill, skill_low, probabilities)
        capsys.readouterr()
        project.run("package")
        said = capsys.readouterr().out.strip().splitlines()[-1]
        newest = max(client.search_model_versions(f"name = '{NAME}'"), key=lambda version: int(version.version))
        (alias,) = client.get_model_version(NAME, newest.version).aliases
        assert said == f"version {newest.version} is {alias}: {newest.description}"
        assert newest.tags["alias.reason"] == newest.description
        aliases.append((alias, newest.description))
    assert [alias for alias, _ in aliases] == ["challenger", "champion", "challenger", "challenger", "champion"]
    for refused in (aliases[0], aliases[2]):
        assert "not shown to lie above 0" in refused[1]
    assert "nothing is proven" in aliases[1][1]
    assert "log-loss 0.3567" in aliases[3][1]  # -ln 0.7
    assert "0.2231, on the same 8 patients" in aliases[3][1]  # -ln 0.8
    assert "log-loss 0.1054" in aliases[4][1]  # -ln 0.9
