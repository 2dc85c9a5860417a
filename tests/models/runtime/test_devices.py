"""Seeds, precision and several processors."""

import contextlib
import os
import subprocess
import sys
from typing import get_args

import keras
import numpy as np
import pytest

from nodules.models.runtime import devices
from nodules.models.unet.network import UNetParams, build
from support.code_graph import PROJECT

TWO_REPLICAS = PROJECT / "tests/support/two_replicas.py"


@pytest.fixture(autouse=True)
def precision_is_put_back():
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


def fresh_weights(seed: int) -> np.ndarray:
    devices.prepare(seed, "float32")
    network = build(UNetParams(filters=2, depth=1, stem_stride=1, normalisation="none", residual=False), channels=1)
    return np.concatenate([weight.ravel() for weight in network.get_weights()])


def test_seed_decides_the_weights():
    assert np.array_equal(fresh_weights(3), fresh_weights(3))
    assert not np.array_equal(fresh_weights(3), fresh_weights(4))


@pytest.mark.parametrize("gpus", [0, 1])
def test_precision_is_the_named_one_whatever_the_machine(monkeypatch, gpus):
    monkeypatch.setattr(devices, "gpu_count", lambda: gpus)
    for precision in get_args(devices.Precision):
        devices.prepare(1, precision)
        assert keras.config.dtype_policy().name == precision


def test_precision_is_put_back_even_after_an_error():
    with pytest.raises(ZeroDivisionError), devices.precision_scope("mixed_float16"):
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
    devices.prepare(1, "float32")
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
