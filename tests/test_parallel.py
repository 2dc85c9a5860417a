import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nodules.parallel import TooManyFailures, WorkerLost, load_once, map_scans


@dataclass(frozen=True)
class Settings:
    factor: int


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "NODULES_DASK", "NODULES_JOBS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "calls").mkdir()
    return tmp_path


@pytest.fixture
def scans(project):
    (project / "in").mkdir()
    for number in range(4):
        (project / "in" / f"s{number}.txt").write_text(str(number))
    return {f"s{number}": Path("in") / f"s{number}.txt" for number in range(4)}


def note_call(path: Path) -> None:
    with Path("calls", path.stem).open("a") as file:
        file.write("x")


def multiply(path: Path, folder: Path, factor: int = 10) -> dict:
    note_call(path)
    if Path("bad", path.stem).exists():
        (folder / "half.txt").write_text("half")
        raise ValueError(f"{path} is\nbroken")
    value = int(path.read_text()) * factor
    time.sleep(0.05 * (3 - int(path.read_text())))  # the last are finished first
    (folder / "sub").mkdir()
    (folder / "sub" / f"{path.stem}.txt").write_text(str(value))
    return {"value": value, "half": np.float32(value / 2)}


def multiply_by(path: Path, folder: Path, *, settings: Settings, model: object = None) -> dict:
    return multiply(path, folder, settings.factor)


def kill_self(path: Path, folder: Path) -> dict:
    if path.stem == "s2":
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    return multiply(path, folder)


def report_limits(path: Path, folder: Path) -> dict:
    return {
        "itk": os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"],
        "cwd": str(Path.cwd()),
        "tf": os.environ.get("TF_NUM_INTRAOP_THREADS"),
    }


def run(scans, function=multiply, **changes):
    arguments = {
        "stage": "measure",
        "output": Path("data/out"),
        "max_failures": 0,
        "n_jobs": 1,
    }
    return map_scans(function, scans, **({"stage": "measure"} | arguments | changes))


def mark_bad(*names: str) -> None:
    Path("bad").mkdir(exist_ok=True)
    for name in names:
        Path("bad", name).touch()


def calls() -> dict[str, int]:
    return {path.name: len(path.read_text()) for path in sorted(Path("calls").iterdir())}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_files_rows_and_manifest(scans):
    rows = run(scans)
    assert rows == [{"scan": f"s{n}", "value": 10 * n, "half": 5.0 * n} for n in range(4)]
    assert Path("data/out/sub/s3.txt").read_text() == "30"
    assert Path("data/out/manifest.csv").read_text() == "scan,value,half\ns0,0,0.0\ns1,10,5.0\ns2,20,10.0\ns3,30,15.0\n"
    assert Path("data/out/failures.csv").read_text() == "scan,verdict,error,message\n"
    assert not list(Path(".work/measure").iterdir())


def test_outputs_do_not_depend_on_workers_or_on_order(scans):
    backwards = dict(reversed(scans.items()))
    assert run(scans, n_jobs=1, output=Path("one")) == run(backwards, n_jobs=2, output=Path("two"))
    assert contents(Path("one")) == contents(Path("two"))


def test_jobs_come_from_the_environment(scans, monkeypatch):
    monkeypatch.setenv("NODULES_JOBS", "1")
    rows = run(scans, function=partial(_process_id), n_jobs=None)
    assert {row["process"] for row in rows} == {os.getpid()}


def _process_id(path: Path, folder: Path) -> dict:
    return {"process": os.getpid()}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_workers_use_one_thread_and_the_callers_folder(scans, n_jobs, project, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    rows = run(scans, function=report_limits, n_jobs=n_jobs)
    tensorflow = "3" if n_jobs == 1 else "1"
    assert {(row["itk"], row["cwd"], row["tf"]) for row in rows} == {("1", str(project), tensorflow)}


def test_failed_scan_is_a_row_and_a_warning(scans, caplog):
    mark_bad("s1")
    rows = run(scans, max_failures=1)
    assert [row["scan"] for row in rows] == ["s0", "s2", "s3"]
    failures = pd.read_csv("data/out/failures.csv", keep_default_na=False)
    assert failures.to_dict("records") == [
        {"scan": "s1", "verdict": "", "error": "ValueError", "message": "in/s1.txt is broken"}
    ]
    assert [record.getMessage() for record in caplog.records] == ["measure: s1: ValueError: in/s1.txt is broken"]
    assert not list(Path("data/out").rglob("half.txt"))


def test_too_many_failures_leave_no_output_and_keep_the_finished(scans):
    mark_bad("s1", "s2")
    with pytest.raises(TooManyFailures, match=r"2 of 4 scans failed, at most 1 may") as error:
        run(scans, max_failures=1)
    assert "s1: ValueError: in/s1.txt is broken" in str(error.value)
    assert "in multiply" in str(error.value)  # the traceback of the first
    assert not Path("data").exists()
    (kept,) = Path(".work").rglob("failures.csv")
    assert list(pd.read_csv(kept).scan) == ["s1", "s2"]
    Path("bad/s1").unlink()
    assert len(run(scans, max_failures=1)) == 3
    assert calls() == {"s0": 1, "s1": 2, "s2": 2, "s3": 1}


def test_all_scans_failed_is_an_error_whatever_is_allowed(scans):
    mark_bad(*scans)
    with pytest.raises(TooManyFailures, match="4 of 4"):
        run(scans, max_failures=10)


def stop_half_way(scans, **changes) -> None:
    mark_bad("s3")
    with pytest.raises(TooManyFailures):
        run(scans, **changes)
    Path("bad/s3").unlink()
    for path in Path("calls").iterdir():
        path.unlink()


def test_resume_gives_the_same_output_as_one_go(scans):
    run(scans)
    whole = contents(Path("data/out"))
    stop_half_way(scans)
    run(scans)
    assert calls() == {"s3": 1}
    assert contents(Path("data/out")) == whole


def test_changed_settings_do_not_reuse(scans):
    stop_half_way(scans, function=partial(multiply_by, settings=Settings(10)))
    run(scans, function=partial(multiply_by, settings=Settings(11)))
    assert len(calls()) == 4


def test_changed_bound_argument_does_not_reuse(scans):
    stop_half_way(scans, function=partial(multiply, factor=2))
    rows = run(scans, function=partial(multiply, factor=3))
    assert [row["value"] for row in rows] == [0, 3, 6, 9]


def test_changed_file_named_by_the_settings_does_not_reuse(scans):
    model = Path("model.keras")
    model.write_text("old")
    function = partial(multiply_by, settings=Settings(10), model={"file": model})
    stop_half_way(scans, function=function)
    model.write_text("retrained")
    run(scans, function=function)
    assert len(calls()) == 4


def test_changed_input_file_does_not_reuse(scans):
    stop_half_way(scans)
    scans["s1"].write_text("02")
    rows = run(scans)
    assert calls() == {"s1": 1, "s3": 1}
    assert rows[1]["value"] == 20


def test_changed_file_of_an_input_folder_does_not_reuse(project):
    def folders():
        return {key: Path("patients", key) for key in ("a", "b")}

    for key, folder in folders().items():
        folder.mkdir(parents=True)
        (folder / "1.dcm").write_text(key)
    mark_bad("b")
    with pytest.raises(TooManyFailures):
        run(folders(), function=_count_slices)
    Path("bad/b").unlink()
    Path("patients/a/2.dcm").write_text("late")
    assert run(folders(), function=_count_slices) == [{"scan": "a", "slices": 2}, {"scan": "b", "slices": 1}]


def _count_slices(path: Path, folder: Path) -> dict:
    if Path("bad", path.name).exists():
        raise ValueError("bad")
    return {"slices": len(list(path.iterdir()))}


def test_changed_voxels_beside_a_metaimage_header_do_not_reuse(project):
    header, voxels = Path("x.1.mhd"), Path("x.1.raw")
    header.write_text("ElementDataFile = x.1.raw")
    voxels.write_text("1")
    scans = {"good": header, "b": Path("b")}
    for _ in range(2):
        with pytest.raises(TooManyFailures):
            run(scans, function=_count_mhd)
    assert calls() == {"x.1": 1}
    voxels.write_text("22")
    with pytest.raises(TooManyFailures):
        run(scans, function=_count_mhd)
    assert calls() == {"x.1": 2}


def _count_mhd(path: Path, folder: Path) -> dict:
    if path.stem == "b":
        raise ValueError("bad")
    note_call(path)
    return {}


SCRIPT = """
import os, time
from pathlib import Path
from nodules.parallel import map_scans

def process(path, folder):
    if path.stem == "s2" and Path("slow").exists():
        (folder / "s2.txt").write_text("hal")
        Path("reached").touch()
        time.sleep(60)
    with Path("calls", path.stem).open("a") as file:
        file.write("x")
    (folder / f"{path.stem}.txt").write_text(path.read_text())
    return {"value": int(path.read_text())}

if __name__ == "__main__":
    scans = {path.stem: path for path in Path("in").iterdir()}
    map_scans(process, scans, stage="s", output=Path("out"), max_failures=0, n_jobs=1)
"""


def test_killed_run_continues_where_it_was(scans, project):
    script = project / "run.py"
    script.write_text(textwrap.dedent(SCRIPT))
    Path("slow").touch()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, script], env=environment)
    try:
        for _ in range(600):
            if Path("reached").exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        assert Path("reached").exists()
    finally:
        process.kill()
        process.wait()
    assert not Path("out").exists()
    assert calls() == {"s0": 1, "s1": 1}
    Path("slow").unlink()
    subprocess.run([sys.executable, script], env=environment, check=True)
    assert calls() == {"s0": 1, "s1": 1, "s2": 1, "s3": 1}
    assert Path("out/s2.txt").read_text() == "2"
    assert sorted(contents(Path("out"))) == ["failures.csv", "manifest.csv", "s0.txt", "s1.txt", "s2.txt", "s3.txt"]


def test_killed_worker_is_told_and_finished_scans_are_kept(scans):
    with pytest.raises(WorkerLost, match=r"measure: a worker process was killed.*working on .*s2.*kept in"):
        run(scans, function=kill_self, n_jobs=2)
    assert not Path("data/out").exists()
    assert calls()["s0"] == 1
    assert list(Path(".work").rglob("s0@*/row.json"))


def test_work_lies_under_the_dvc_root(scans, project, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(project / "root"))
    stop_half_way(scans)
    assert list((project / "root" / ".work" / "measure").iterdir())


def test_stages_with_equal_settings_do_not_share_finished_scans(scans):
    stop_half_way(scans)
    run(scans, output=Path("other"))
    assert len(calls()) == 4


def test_own_earlier_output_is_replaced_and_a_foreign_folder_is_not(scans):
    run(scans)
    del scans["s0"]
    run(scans)
    assert not Path("data/out/sub/s0.txt").exists()
    Path("precious").mkdir()
    Path("precious/thesis.txt").touch()
    with pytest.raises(ValueError, match="precious holds files that this stage did not write"):
        run(scans, output=Path("precious"))
    assert Path("precious/thesis.txt").exists()


def test_two_scans_writing_one_file_are_refused(scans):
    with pytest.raises(ValueError, match=r"s1 wrote same\.txt, which another scan wrote too"):
        run(scans, function=_write_same)


def _write_same(path: Path, folder: Path) -> dict:
    (folder / "same.txt").touch()
    return {}


@pytest.mark.parametrize(
    ("row", "message"), [([1], "expected the function to return a dict"), ({"a": {1}}, "numbers and text")]
)
def test_unusable_row_is_a_failure(scans, row, message):
    with pytest.raises(TooManyFailures, match=message):
        run({"s0": row}, function=_give_back)


def _give_back(item, folder: Path):
    return item


def test_rows_with_different_columns_share_one_manifest(project):
    run({"a": {"x": 1}, "b": {"y": "t,u"}}, function=_give_back)
    assert Path("data/out/manifest.csv").read_text() == 'scan,x,y\na,1,\nb,,"t,u"\n'


def test_no_scans_is_an_error_naming_the_stage():
    with pytest.raises(ValueError, match=r"measure: no scans to process; check"):
        run({})


@pytest.mark.parametrize("key", ["a/b", "..", ".hidden", "", "a b", "a@b", "é"])
def test_scan_ids_that_are_no_file_names_are_refused(key):
    with pytest.raises(ValueError, match="expected scan ids of"):
        run({key: 1})


def test_odd_stage_name_is_refused(scans):
    with pytest.raises(ValueError, match="expected a stage name"):
        run(scans, stage="../x")


def test_dask_workers_give_the_same_output(scans, monkeypatch):
    distributed = pytest.importorskip("distributed")
    run(scans, output=Path("local"))
    mark_bad("s1")
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None)
    with cluster:
        monkeypatch.setenv("NODULES_DASK", cluster.scheduler_address)
        with pytest.raises(TooManyFailures, match=r"s1: ValueError: in/s1.txt is broken"):
            run(scans)
        Path("bad/s1").unlink()
        run(scans)
    assert contents(Path("data/out")) == contents(Path("local"))
    assert calls() == {"s0": 2, "s1": 3, "s2": 2, "s3": 2}


def test_killed_dask_worker_is_told(scans, monkeypatch):
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
    ):
        monkeypatch.setenv("NODULES_DASK", cluster.scheduler_address)
        with pytest.raises(WorkerLost, match=r"working on .*s2"):
            run(scans, function=kill_self)
    assert list(Path(".work").rglob("s0@*/row.json"))


def test_missing_distributed_is_told(scans, monkeypatch):
    monkeypatch.setenv("NODULES_DASK", "tcp://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"`make env`.*pip install -e '\.\[cluster\]'"):
        run(scans)


def test_a_network_is_loaded_once_and_again_when_its_files_change(tmp_path):
    calls = []

    def load(folder: Path) -> str:
        calls.append(folder)
        return (folder / "weights").read_text()

    (tmp_path / "weights").write_text("first")
    assert [load_once(load, tmp_path) for _ in range(3)] == ["first"] * 3
    assert len(calls) == 1
    (tmp_path / "weights").write_text("the second")
    assert load_once(load, tmp_path) == "the second"
    assert len(calls) == 2
