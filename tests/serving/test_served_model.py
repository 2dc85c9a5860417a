"""The packaged model behind `mlflow models serve`, against `nodules predict` on the same scan."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow.models import Model

from nodules import params
from nodules.cli.main import main
from nodules.scans.phantom.cohort import write_dsb_patient
from nodules.scans.phantom.patient import PhantomParams
from support.code_graph import PROJECT
from support.dicom_files import zip_folder

START_S = 120
ANSWER_S = 300


@dataclass(frozen=True)
class Case:
    """A model, a scan, and what the command line says about it."""

    model: Path
    scan: str
    predicted: dict[str, Any]


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("scan")
    model = request.config.getoption("--packaged-model")
    if model is None:
        project = request.getfixturevalue("tiny_pipeline")
        model = project.path("models/diagnosis")
        table = pd.read_csv(project.path("data/dsb/features/features.csv"), dtype={"id": str})
        patient = table.sort_values("candidate_count")["id"].iloc[-1]
        slices = project.path(f"data/phantoms/dsb/{patient}")
    else:
        write_dsb_patient(0, params.load("phantoms", PhantomParams, PROJECT / "params.yaml"), folder / "dicom")
        (slices,) = (folder / "dicom").iterdir()
    packed = zip_folder(slices, folder / "scan.zip")
    command = ["predict", str(packed), "--output", str(folder / "report"), "--model", str(model), "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    scan = base64.b64encode(packed.read_bytes()).decode()
    return Case(Path(model).resolve(), scan, json.loads(result.stdout))


@pytest.fixture(scope="module")
def server(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the model's server; it and all of its processes are gone afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(case.model), "--env-manager", "local"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "-h", "127.0.0.1", "-p", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=log.parent,
            env=environment,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until_up(address, process, log)
        yield address
    finally:
        _end(process)


def _wait_until_up(address: str, process: subprocess.Popen, log: Path) -> None:
    for _ in range(START_S):
        try:
            with urllib.request.urlopen(f"{address}/ping", timeout=5) as answer:  # noqa: S310
                if answer.status == 200:
                    return
        except OSError:
            pass
        if process.poll() is not None:
            break
        time.sleep(1)
    pytest.fail(f"the server does not answer:\n{log.read_text()[-3000:]}")


def _end(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(address: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    request = urllib.request.Request(  # noqa: S310
        f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
        return json.loads(answer.read(), parse_constant=_refuse)["predictions"]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def assert_same(answer: dict[str, Any], predicted: dict[str, Any]) -> None:
    assert answer["probability"] == pytest.approx(predicted["probability"], abs=1e-9)
    assert answer["suspicion"] == pytest.approx(predicted["suspicion"], abs=1e-9)
    assert len(answer["nodules"]) == len(predicted["nodules"])
    for nodule, wanted in zip(answer["nodules"], predicted["nodules"], strict=True):
        assert nodule == pytest.approx(wanted, abs=1e-6)
    assert json.loads(answer["features"]) == pytest.approx(predicted["features"], abs=1e-6)
    for moved, wanted in zip(answer["explanation"], predicted["explanation"], strict=True):
        assert moved["name"] == wanted["name"]
        assert moved["log_odds"] == pytest.approx(wanted["log_odds"], abs=1e-5)
    assert answer["verdict"] | {"facts": json.loads(answer["facts"])} == predicted["verdict"]


def test_served_answer_is_that_of_the_command_line(server, case):
    (answer,) = ask(server, {"dataframe_records": [{"scan": case.scan}]})
    assert_same(answer, case.predicted)


def test_broken_scan_does_not_take_the_good_one_with_it(server, case):
    broken = base64.b64encode(b"this is no scan").decode()
    records = [{"scan": broken}, {"scan": case.scan}, {"scan": "not base64!"}]
    first, good, last = ask(server, {"dataframe_records": records})
    assert_same(good, case.predicted)
    for answer, message in ((first, "unknown kind of data"), (last, "base64")):
        assert answer["verdict"]["status"] == "unusable"
        assert message in answer["verdict"]["reasons"][0]
        assert answer.get("probability") is None
        assert answer.get("suspicion") is None
        assert answer["nodules"] == []
        assert answer["explanation"] == []


def test_only_broken_scans(server):
    (answer,) = ask(server, {"dataframe_records": [{"scan": "not base64!"}]})
    assert answer["verdict"]["status"] == "unusable"
    assert answer.get("probability") is None


@pytest.mark.parametrize("record", [{"picture": "x"}, {"scan": 17}])
def test_wrong_column_is_a_bad_request(server, record):
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(server, {"dataframe_records": [record]})
    assert refused.value.code == 400
    assert "scan" in refused.value.read().decode()


# --- the same model without a server ---


@pytest.fixture(scope="module")
def loaded(case: Case) -> Any:
    import mlflow

    return mlflow.pyfunc.load_model(str(case.model))


def test_loaded_model_answers_like_the_command_line(loaded, case):
    answer = loaded.predict(pd.DataFrame({"scan": [case.scan]}))
    assert_same(answer.to_dict("records")[0], case.predicted)


def test_input_example_has_an_answer(loaded):
    answer = loaded.predict(loaded.input_example)
    assert answer["verdict"].iloc[0]["status"] == "usable"  # its slices are thick
    assert 0 <= answer["probability"].iloc[0] <= 1


def test_nothing_in_the_folder_is_pickled(case):
    names = [file.name for file in case.model.rglob("*") if file.is_file()]
    assert names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]


def test_folder_names_no_path_of_this_machine(case):
    texts = [case.model / name for name in ("MLmodel", "requirements.txt", "conda.yaml", "python_env.yaml")]
    made_in = (str(PROJECT), str(case.model.parent))
    assert not [file.name for file in texts if any(folder in file.read_text() for folder in made_in)]
    artifacts = Model.load(str(case.model)).flavors["python_function"]["artifacts"]
    assert artifacts == {"chain": {"path": "artifacts/chain", "uri": "artifacts/chain"}}
