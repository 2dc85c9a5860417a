"""Seeds, precision and several processors."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from code_graph import PROJECT
from nodules.models import devices, unet

TWO_REPLICAS = Path(__file__).with_name("two_replicas.py")


@pytest.fixture(autouse=True)
def precision_is_put_back():
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


def fresh_weights(seed: int) -> np.ndarray:
    devices.prepare(seed, mixed_precision=False)
    network = unet.build(unet.UNetParams(filters=2, depth=1, normalisation="none", residual=False), channels=1)
    return np.concatenate([weight.ravel() for weight in network.get_weights()])


def test_seed_decides_the_weights():
    assert np.array_equal(fresh_weights(3), fresh_weights(3))
    assert not np.array_equal(fresh_weights(3), fresh_weights(4))


BFLOAT16 = "mixed_bfloat16" if keras.backend.backend() == "tensorflow" else "float32"


@pytest.mark.parametrize(
    ("wanted", "gpus", "flags", "policy"),
    [
        (True, 1, "fpu avx512_bf16", "mixed_float16"),
        (True, 0, "fpu avx512_bf16 sse", BFLOAT16),
        (True, 0, "amx_bf16", BFLOAT16),
        (True, 0, "fpu avx512f sse", "float32"),
        (True, 0, None, "float32"),  # no Linux
        (False, 1, "avx512_bf16", "float32"),
        (False, 0, "avx512_bf16", "float32"),
    ],
)
def test_half_precision_only_where_it_pays(monkeypatch, tmp_path, wanted, gpus, flags, policy):
    processor = tmp_path / "cpuinfo"
    if flags is not None:
        processor.write_text(f"model name\t: Any\nflags\t\t: {flags}\n")
    monkeypatch.setattr(devices, "PROCESSOR", processor)
    monkeypatch.setattr(devices, "gpu_count", lambda: gpus)
    devices.prepare(1, mixed_precision=wanted)
    assert keras.config.dtype_policy().name == policy


def test_precision_is_put_back_even_after_an_error(monkeypatch):
    monkeypatch.setattr(devices, "gpu_count", lambda: 1)
    with pytest.raises(ZeroDivisionError), devices.precision(mixed_precision=True):
        assert keras.layers.Dense(1).compute_dtype == "float16"
        1 / 0  # noqa: B018
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(("gpus", "cores", "threads"), [(0, 64, 2), (0, 1, 2), (1, 1, 2), (1, 6, 6), (2, 64, 16)])
def test_a_gpu_is_fed_by_all_cores_and_nothing_by_one_thread(monkeypatch, gpus, cores, threads):
    monkeypatch.setattr(devices, "gpu_count", lambda: gpus)
    monkeypatch.setattr(devices.joblib, "cpu_count", lambda: cores)
    assert devices.feeding_threads() == threads


@pytest.mark.parametrize(
    ("gpus", "cores", "given", "threads"),
    [(0, 2, None, "1"), (0, 1, None, "1"), (0, 9, None, "4"), (0, 8, "3", "3"), (1, 8, None, None)],
)
def test_two_operations_share_the_cores_unless_told_otherwise(monkeypatch, gpus, cores, given, threads):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", given or "")
    if given is None:
        monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    monkeypatch.setattr(devices, "gpu_count", lambda: gpus)
    monkeypatch.setattr(devices.joblib, "cpu_count", lambda: cores)
    devices.prepare(1, mixed_precision=False)
    assert os.environ.get("TF_NUM_INTRAOP_THREADS") == threads


@pytest.mark.parametrize("gpus", [0, 1])
def test_one_processor_needs_no_strategy(monkeypatch, gpus):
    monkeypatch.setattr(devices, "gpu_count", lambda: gpus)
    assert isinstance(devices.training_scope(), contextlib.nullcontext)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="MirroredStrategy is TensorFlow's")
def test_two_replicas_train_as_one():
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "tests")}
    done = subprocess.run(
        [sys.executable, str(TWO_REPLICAS)], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 replicas" in done.stdout
