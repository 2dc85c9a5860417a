"""Keras devices: seeds, precision, GPUs and CPU threads, set before a network is built."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal

import joblib
import keras

MAX_FEEDING_THREADS = 16
PARALLEL_OPERATIONS = 2  # operations, or calls of a network, that run at the same time on a machine without a GPU

Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]
"""Keras's dtype policies. Mixed ones compute in half precision; weights and the U-Net's last layer stay in float32."""


def prepare(seed: int, precision: Precision) -> None:
    """Seed all generators, enable deterministic kernels, and set the precision of networks built from now on."""
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(precision)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    share_gpus()
    if not gpu_count():
        _share_cores()


def _share_cores() -> None:
    """Run two operations at the same time, each on half of the cores, unless the environment says otherwise.

    The backward pass has two independent operations per convolution. With more threads per operation, idle threads
    would take cores from the threads that draw batches. On two cores a step of the default network takes 54 ms instead
    of 67 ms. This has no effect once TensorFlow has computed anything.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, int(joblib.cpu_count()) // PARALLEL_OPERATIONS)))


@contextlib.contextmanager
def precision_scope(precision: Precision) -> Iterator[None]:
    """Build networks of this precision inside the context."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def share_gpus() -> None:
    """Let several processes share a GPU: by default TensorFlow reserves all of its memory for the first process."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)


def gpu_count() -> int:
    """Number of GPUs that the Keras backend can use."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return len(tf.config.list_physical_devices("GPU"))
    if backend == "torch":
        import torch

        return torch.cuda.device_count()
    import jax

    return sum(device.platform == "gpu" for device in jax.devices())


def feeding_threads() -> int:
    """Number of threads that draw batches: one per core with a GPU, from 2 to `MAX_FEEDING_THREADS`; 2 without.

    Two is the minimum even where the CPU itself trains. With a single thread Keras leaves the queue to tf.data, whose
    autotuning wakes up after 5.1, 10.2, 20.5 s ... and can delay the end of an epoch until then (10.3 s for 4.7 s of
    work, TensorFlow 2.21).
    """
    return max(2, min(int(joblib.cpu_count()), MAX_FEEDING_THREADS)) if gpu_count() else 2


def training_scope() -> AbstractContextManager[Any]:
    """Build and compile networks inside this context: several GPUs then share every batch (TensorFlow only).

    `keras.distribution` is the backend-neutral way, but has no effect on TensorFlow as of Keras 3.15.
    """
    if keras.backend.backend() != "tensorflow" or gpu_count() < 2:
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.distribute.MirroredStrategy().scope()
