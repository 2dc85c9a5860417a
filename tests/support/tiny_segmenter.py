"""Trains the network that the tiny pipeline begins with: `python tests/support/tiny_segmenter.py`.

What a training run of seconds finds depends on how the processor rounds. So the tests' network comes with its weights,
in `tests/data/tiny_segmenter`, and the tiny pipeline trains it on for a few steps that hardly change them. Run this
again when the network's shape, its input or the phantoms change: two minutes on two cores.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from support import tiny_project

LONG_TRAINING = [
    "phantoms.luna_scans=24",
    "unet.start_from=null",
    "unet.epochs=16",
    "unet.steps_per_epoch=120",
    "unet.patience=16",
    "unet.learning_rate=0.01",
    "unet.mining_epochs=[6]",
    "unet.validation_patches=64",
]
LEAST_DICE = 0.5
STAGES = ("phantoms@luna16", "extract_luna@0", "extract_luna@1", "lung_masks@0", "lung_masks@1", "split", "train_unet")


def main() -> None:
    """Run the stages up to the training, and keep its network."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        # at 4 mm a pixel the real training's smoothing is larger than a nodule, and would keep the answers blank
        patch.setattr("nodules.models.unet.loss.SMOOTH_EMPTY", 1.0)
        project = tiny_project.prepare(Path(folder), [*tiny_project.OVERRIDES, *LONG_TRAINING])
        for name in STAGES:
            project.run(name)
        reached = json.loads(project.path("models/metrics/unet_training.json").read_text())["val_dice"]
        if reached < LEAST_DICE:
            raise ValueError(
                f"the network reached a validation Dice of {reached:.2f}, wanted {LEAST_DICE}; kept nothing"
            )
        shutil.copytree(project.path("models/segmenter"), tiny_project.SEGMENTER, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
