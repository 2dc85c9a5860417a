import subprocess
from pathlib import Path

import psutil
import pytest

from nodules.tracking.provenance import has_ended, input_md5s, pipeline_execution, process_name, project_root, run_tags

LOCK = """
schema: '2.0'
stages:
  extract@0:
    cmd: x
    deps:
    - {path: data/raw, md5: aaaa.dir}
    outs:
    - {path: data/slices/subset0, md5: b0.dir}
  extract@1:
    cmd: x
    outs:
    - {path: data/slices/subset1, md5: b1.dir}
  masks:
    cmd: x
    deps:
    - {path: data/slices, md5: old.dir}
    outs:
    - {path: data/masks, md5: cccc.dir}
  train:
    cmd: x
    deps:
    - {path: data/masks, md5: stale.dir}
"""


def test_hash_of_an_output_wins_over_that_of_a_dependency(tmp_path):
    (tmp_path / "dvc.lock").write_text(LOCK)
    paths = [Path("data/masks"), Path("data/raw"), Path("data/nothing")]
    assert list(input_md5s(paths, tmp_path / "dvc.lock").values()) == ["cccc.dir", "aaaa.dir", None]


def test_folder_of_several_outputs_changes_with_each(tmp_path):
    lock = tmp_path / "dvc.lock"
    lock.write_text(LOCK)
    first = input_md5s([Path("data/slices")], lock)
    lock.write_text(LOCK.replace("b1.dir", "b2.dir"))
    second = input_md5s([Path("data/slices")], lock)
    assert first != second
    assert len(first[Path("data/slices")]) == 32


def test_data_added_by_hand_has_its_own_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("luna.dvc").write_text("outs:\n- md5: dddd.dir\n  path: luna\n")
    assert input_md5s([Path("luna")]) == {Path("luna"): "dddd.dir"}


def test_no_lock_is_no_hash(tmp_path):
    assert input_md5s([Path("x")], tmp_path / "dvc.lock") == {Path("x"): None}


@pytest.mark.parametrize(
    ("command", "reproduces"),
    [
        (["/venv/bin/python", "/venv/bin/dvc", "repro", "-f"], True),
        (["dvc", "exp", "run", "-S", "unet.epochs=3"], True),
        (["python", "-m", "dvc", "repro"], True),
        (["python", "/site-packages/dvc/__main__.py", "exp", "exec-run", "--infofile", "x"], True),
        (["dvc", "-v", "repro"], True),
        (["dvc", "exp", "show"], False),
        (["dvc", "exp", "queue-worker", "x"], False),
        (["dvc", "push"], False),
        (["sh", "-c", "dvc repro"], False),
        (["make", "repro"], False),
        ([], False),
    ],
)
def test_dvc_processes_are_recognised(command, reproduces, monkeypatch):
    class Ancestor:
        pid = 7

        def cmdline(self):
            return command

        def create_time(self):
            return 12.5

    monkeypatch.setattr(psutil.Process, "parents", lambda self: [Ancestor()])
    execution = pipeline_execution()
    assert (execution is not None) == reproduces
    if execution:
        assert execution.process.endswith(":7")
        assert execution.started == 12.5


def test_nearest_dvc_process_counts(monkeypatch):
    class Ancestor:
        def __init__(self, pid):
            self.pid = pid

        def cmdline(self):
            return ["dvc", "repro"]

        def create_time(self):
            return 1.0

    monkeypatch.setattr(psutil.Process, "parents", lambda self: [Ancestor(3), Ancestor(2)])
    assert pipeline_execution().process.endswith(":3")


def test_process_that_reuses_a_number_is_not_the_one_seen():
    own = psutil.Process()
    assert not has_ended(process_name(own.pid), own.create_time() + 5)
    assert has_ended(process_name(own.pid), own.create_time() - 1000)
    assert not has_ended("another-machine:1", 0.0)


def test_tags_tell_commit_dirt_and_stage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "train")
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    assert run_tags() == {"dvc.stage": "train"}
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@e"]
    Path("a").write_text("a")
    for words in (["init", "-q"], ["add", "a"], ["commit", "-qm", "m"]):
        subprocess.run([*git, *words], check=True)
    tags = run_tags()
    assert len(tags["git.commit"]) == 40
    assert tags["git.dirty"] == "false"
    Path("a").write_text("b")
    assert run_tags()["git.dirty"] == "true"


def test_root_is_the_nearest_folder_with_a_pipeline(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert project_root() == tmp_path
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "a"))
    assert project_root() == tmp_path / "a"
