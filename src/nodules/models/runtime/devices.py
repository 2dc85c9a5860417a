"""Seeds, precision and processors: what Keras needs to be told before a network is built."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal

import joblib
import keras

MAX_FEEDING_THREADS = 16
AT_A_TIME = 2  # operations, or calls of a network, that a processor without a GPU computes side by side

Precision = Literal["float32", "mixed_float16", "mixed_bfloat16"]
"""Keras's dtype policies. Mixed ones compute in half precision; weights and the U-Net's last layer stay in float32."""


def prepare(seed: int, precision: Precision) -> None:
    """Seed everything, ask for deterministic kernels, and set the precision of networks that are built from now on."""
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(precision)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    share_gpus()
    if not gpu_count():
        _share_cores()


def _share_cores() -> None:
    """Compute two operations at a time, each on half of the cores, where the environment does not say otherwise.

    The backward pass has two for every convolution that need not wait for each other, and threads that wait for work
    would take the cores of those that draw batches: the default network's step takes 54 ms in place of 67 on two cores.
    Once TensorFlow has computed anything, this comes too late and changes nothing.
    """
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, int(joblib.cpu_count()) // AT_A_TIME)))


@contextlib.contextmanager
def computing_in(precision: Precision) -> Iterator[None]:
    """Networks that are built inside compute in this precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def share_gpus() -> None:
    """Let several processes use a GPU: TensorFlow would otherwise take all of its memory for the first."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)


def gpu_count() -> int:
    """Number of GPUs that the Keras backend sees."""
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
    """Threads that draw batches: one a core where a GPU trains, from 2 to `MAX_FEEDING_THREADS`; else 2.

    Never one, though a processor that trains has hardly one to spare: Keras would leave the queue to tf.data, whose
    autotuning wakes after 5.1, 10.2, 20.5 s ..., and may hold up the end of an epoch until then (10.3 s for 4.7 s of
    work, TensorFlow 2.21).
    """
    return max(2, min(int(joblib.cpu_count()), MAX_FEEDING_THREADS)) if gpu_count() else 2


def training_scope() -> AbstractContextManager[Any]:
    """Build and compile inside: with several GPUs every batch is divided among them (TensorFlow only).

    `keras.distribution` would be the backend-neutral way, but does nothing on TensorFlow as of Keras 3.15.
    """
    if keras.backend.backend() != "tensorflow" or gpu_count() < 2:
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.distribute.MirroredStrategy().scope()
