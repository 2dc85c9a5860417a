"""Run by test_devices: a process that takes its one processor for two, and trains on one and on both."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.models.runtime import devices
from nodules.models.unet.sampling import PatchSampler
from nodules.models.unet.training import train
from nodules.models.unet.training_slices import SliceSet
from support.small_training import SAMPLING, TRAINING

ROI = LungRoiParams(1.0, 4.0, True, (-1000.0, 400.0))

PARAMS = replace(TRAINING, sampling=replace(SAMPLING, patch_px=16, nodule_share=0.5, jitter_px=2))


def sampler() -> PatchSampler:
    hu = np.full((2, 32, 32, 1), -800, np.int16)
    nodules = np.zeros((2, 32, 32), np.uint8)
    nodules[:, 10:14, 20:25] = 1
    hu[nodules > 0] = 50
    everywhere = np.ones((2, 32, 32), bool)
    centres = np.array([[0, 12, 22, 0], [1, 12, 22, 0]])
    slices = SliceSet(hu, everywhere, nodules, everywhere, centres, np.array([5.0, 5.0]))
    return PatchSampler([slices], PARAMS.sampling, ROI)


def trained() -> tuple[np.ndarray, np.ndarray]:
    with tempfile.TemporaryDirectory() as work:
        network, history = train(sampler(), sampler(), 1, PARAMS, seed=1, work=Path(work))
    return np.concatenate([w.ravel() for w in network.get_weights()]), history[["loss", "val_loss"]].to_numpy()


def main() -> None:
    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    weights, losses = trained()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    devices.training_scope = strategy.scope
    divided_weights, divided_losses = trained()
    print(strategy.num_replicas_in_sync, "replicas")  # noqa: T201
    np.testing.assert_allclose(divided_losses, losses, atol=1e-5)
    np.testing.assert_allclose(divided_weights, weights, atol=1e-4)


if __name__ == "__main__":
    main()
