"""One network, three backends: the same answers, wherever JAX or PyTorch can be imported."""

import importlib.util
import os
import subprocess
import sys

import pytest

from support.code_graph import PROJECT


def interpreters() -> dict[str, str]:
    """Those of NODULES_BACKENDS (``jax=/path/to/python,torch=...``), and this one for what it can import itself."""
    named = os.environ.get("NODULES_BACKENDS", "")
    importable = {name: sys.executable for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)}
    return importable | dict(word.split("=", 1) for word in named.split(",") if word)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_backend_answers_as_tensorflow_does(backend):
    found = interpreters()
    if not {"tensorflow", backend} <= set(found):
        pytest.skip(f"{backend} cannot be imported here; name an interpreter that can: NODULES_BACKENDS={backend}=PATH")
    named = [word for name in ("tensorflow", backend) for word in ("--python", f"{name}={found[name]}")]
    script = str(PROJECT / "benchmarks" / "backends.py")
    done = subprocess.run([sys.executable, script, *named], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert f"| residual | {backend} |" in done.stdout
