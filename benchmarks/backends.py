"""Agreement of TensorFlow, JAX and PyTorch: differences in prediction and loss of the same U-Net with the same weights.

Run it as `python benchmarks/backends.py --python tensorflow=python --python jax=/envs/jax/bin/python ...`. Each
interpreter needs keras, its backend, numpy, h5py and annotated-types. The others are compared with the first.
The exit status is 1 if two forward passes differ by more than 1e-4 anywhere, or two losses after the training steps by
more than 1e-3. The second limit is wider because Adam divides each gradient by its own size, which magnifies rounding.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

SOURCE = Path(__file__).parents[1] / "src"
SEED = 2017
STEPS = 5
FORWARD_LIMIT, LOSS_LIMIT = 1e-4, 1e-3


def main() -> int:
    """Run every backend and print a line for each; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", metavar="BACKEND=PATH", help="interpreter that has this backend")
    parser.add_argument("--answer", nargs=2, type=Path, metavar=("WEIGHTS", "RESULT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        answer(*arguments.answer)
        return 0
    if not arguments.python:
        parser.error("name at least one interpreter with --python")
    interpreters = dict(word.split("=", 1) for word in arguments.python)
    with tempfile.TemporaryDirectory() as folder:
        answers = {backend: ask(backend, python, Path(folder)) for backend, python in interpreters.items()}
    return report(answers)


def ask(backend: str, python: str, folder: Path) -> dict[str, Any]:
    """Results of one backend; the first one draws the weights that the others load."""
    result = folder / f"{backend}.npz"
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(SOURCE), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [python, __file__, "--answer", str(folder), str(result)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{backend} ({python}) failed:\n{done.stderr[-3000:]}")
    with np.load(result) as stored:
        return dict(stored)


def report(answers: dict[str, dict[str, Any]]) -> int:
    """Print the differences from the first backend; return 1 if one exceeds its limit, else 0."""
    reference = next(iter(answers))
    print("| network | backend | version | largest difference forward | loss after 5 steps | difference |")
    print("| --- | --- | --- | ---: | ---: | ---: |")
    is_bad = False
    for network in ("plain", "residual"):
        for backend, found in answers.items():
            wanted = answers[reference]
            forward = float(np.abs(found[f"{network}_map"] - wanted[f"{network}_map"]).max())
            loss = float(found[f"{network}_losses"][-1])
            apart = abs(loss - float(wanted[f"{network}_losses"][-1]))
            is_bad |= not (forward <= FORWARD_LIMIT and apart <= LOSS_LIMIT)  # a NaN is bad, too
            print(f"| {network} | {backend} | {found['version']} | {forward:.1e} | {loss:.6f} | {apart:.1e} |")
    return int(is_bad)


def answer(folder: Path, result: Path) -> None:
    """Run one backend in this interpreter: predictions of both networks, from two threads at once, and losses."""
    import keras

    from nodules.models.unet.inference import InferenceNetwork
    from nodules.models.unet.loss import DiceLoss
    from nodules.models.unet.network import UNetParams, build

    version = importlib.import_module(keras.backend.backend()).__version__
    stored: dict[str, Any] = {"version": f"{version}, Keras {keras.__version__}"}
    random = np.random.default_rng(SEED)
    images = random.random((2, 64, 96, 5), dtype=np.float32)
    masks = (images[..., 2:3] > 0.95).astype(np.float32)
    for name in ("plain", "residual"):
        keras.utils.set_random_seed(SEED)
        params = UNetParams(8, 4, stem_stride=1, normalisation="batch", residual=name == "residual")
        network = build(params, channels=5)
        weights = folder / f"{name}.weights.h5"
        if weights.exists():
            network.load_weights(weights)
        else:
            network.save_weights(weights)
        asked = InferenceNetwork(network, params, batch_size=1)
        with ThreadPoolExecutor(2) as pool:
            stored[f"{name}_map"] = np.concatenate(list(pool.map(asked, np.split(images, len(images)))))
        network.compile(keras.optimizers.Adam(1e-3, clipnorm=1.0), loss=DiceLoss(1.0))
        stored[f"{name}_losses"] = [float(network.train_on_batch(images, masks)) for _ in range(STEPS)]
    np.savez(result, **stored)


if __name__ == "__main__":
    sys.exit(main())
