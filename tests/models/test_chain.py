"""Where a folder holds a diagnosis chain, and what a chain must hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nodules.models.chain import ChainError, chain_folder, check_chain, find_chain, has_classifier, has_rater

PARTS = ("segmenter", "false_positive_reduction", "classifier", "malignancy")


def chain(folder: Path, *parts: str, settings: bool = True) -> Path:
    for part in parts:
        (folder / part).mkdir(parents=True)
    if settings:
        (folder / "diagnosis.json").touch()
    return folder


def test_chain_of_a_packaged_model_comes_before_the_folder_itself(tmp_path):
    assert find_chain(tmp_path / "nowhere") is None
    assert find_chain(tmp_path) is None
    assert find_chain(chain(tmp_path)) == tmp_path
    inner = chain_folder(tmp_path)
    inner.mkdir(parents=True)
    assert find_chain(tmp_path) == inner == tmp_path / "artifacts" / "chain"


@pytest.mark.parametrize("judges", [(), ("classifier",), ("malignancy",), ("classifier", "malignancy")])
def test_complete_chains(tmp_path, judges):
    check_chain(chain(tmp_path, *PARTS[:2], *judges))
    assert (has_classifier(tmp_path), has_rater(tmp_path)) == ("classifier" in judges, "malignancy" in judges)


@pytest.mark.parametrize("missing", ["segmenter", "false_positive_reduction", "diagnosis.json"])
def test_missing_part_is_named(tmp_path, missing):
    chain(tmp_path, *(part for part in PARTS if part != missing), settings=missing != "diagnosis.json")
    with pytest.raises(ChainError, match=f"incomplete model: .*; missing: {missing}$"):
        check_chain(tmp_path)


def test_asking_for_a_chain_loads_no_library_for_learning():
    code = "import sys, nodules.models.chain; print({'keras', 'tensorflow', 'mlflow', 'sklearn'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"
