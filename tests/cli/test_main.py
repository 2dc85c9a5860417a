"""What all commands have in common: refused scans, the help text and quick loading."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support.command_line import nodules


@pytest.mark.parametrize("command", ["predict", "lungs", "check"])
@pytest.mark.parametrize(
    ("scan", "message"),
    [
        ("absent.mha", "no such file"),
        ("empty", "no CT slice found"),
        ("text.mha", "text.mha"),
        ("a.txt", "unknown kind"),
    ],
)
def test_unusable_scan_is_refused(tiny_pipeline, model, tmp_path, command, scan, message):
    (tmp_path / "empty").mkdir()
    for name in ("text.mha", "a.txt"):
        (tmp_path / name).write_text("no scan")
    settings = ("--params", tiny_pipeline.path("params.yaml"))
    output = ("-o", tmp_path / "out.mha")
    more = {"predict": (*output, "--model", model), "lungs": (*output, *settings), "check": settings}[command]
    result = nodules(command, tmp_path / scan, *more)
    assert result.exit_code == 1
    assert message in (result.stdout if command == "check" else result.stderr)
    assert result.stderr.startswith("" if command == "check" else "Error: ")
    assert "Traceback" not in result.output
    assert not (tmp_path / "out.mha").exists()


def test_refused_scan_as_json_is_a_verdict(model, tiny_pipeline, tmp_path):
    (tmp_path / "text.mha").write_text("no scan")
    (predicted, checked) = (
        nodules("predict", tmp_path / "text.mha", "-o", tmp_path / "out", "--model", model, "--json"),
        nodules("check", tmp_path / "text.mha", "--params", tiny_pipeline.path("params.yaml"), "--json"),
    )
    assert predicted.exit_code == checked.exit_code == 1
    verdict = json.loads(checked.stdout)
    assert json.loads(predicted.stdout) == {
        "probability": None,
        "suspicion": None,
        "nodules": [],
        "verdict": verdict,
        "features": {},
        "explanation": [],
    }
    assert (verdict["status"], verdict["facts"]) == ("unusable", {})
    assert "text.mha" in verdict["reasons"][0]


def test_help_names_the_commands():
    result = nodules("--help")
    assert result.exit_code == 0
    for command in ("check", "classify", "ensemble", "evaluate-cubes", "froc", "lungs", "predict", "summary"):
        assert command in result.stdout


def test_help_waits_for_no_library():
    slow = [
        "numpy",
        "scipy",
        "pandas",
        "SimpleITK",
        "pydicom",
        "matplotlib",
        "sklearn",
        "mlflow",
        "keras",
        "tensorflow",
    ]
    program = f"import sys, nodules.cli.main; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
