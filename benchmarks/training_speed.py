"""Training speed of the U-Net: images per second, time spent waiting for data, and use of the processor.

Run it as `KERAS_BACKEND=tensorflow python benchmarks/training_speed.py`, on any backend, with or without a GPU.
Network, batch and patches are those of params.yaml unless others are named. The scans are synthetic, and lie in
memory-mapped files as in training. It prints

- images per second in training with patches drawn as in training, and with a single batch that is repeated; the
  difference is the time that training waits for data;
- FLOP per second of the network's convolutions (2 for each multiplication with a weight; a training step counts as
  three forward passes: prediction, gradient of the input, gradient of the weights), as a share of what the same machine
  reaches in a large matrix product of the same precision;
- milliseconds that the trained network takes for a call with 8 slices;
- the size of the scans on disk, and the memory that the process takes beside its memory-mapped files, which the system
  can drop whenever it needs the memory (`--scans 888` is LUNA16).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import keras
import numpy as np
import psutil

from nodules import params
from nodules.imaging.network_input.lung_roi import LungRoiParams
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.models.runtime import devices
from nodules.models.runtime.epochs import DrawnEpoch
from nodules.models.unet.inference import InferenceNetwork
from nodules.models.unet.network import UNetParams, build
from nodules.models.unet.sampling import PatchSampler
from nodules.models.unet.training import TrainingParams, compiled, drawn_epoch
from nodules.models.unet.training_slices import SliceSet

SLICES, HEIGHT, WIDTH = 16, 260, 340  # a lung region at 1 mm a pixel
ANSWERED = (8, 224, 288)  # a call of a trained network: slices of a lung region at 0.8 mm a pixel
REPEATS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--filters", type=int)
    parser.add_argument("--depth", type=int)
    parser.add_argument("--stem-stride", type=int, choices=(1, 2))
    parser.add_argument("--patch-px", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--precision", choices=get_args(devices.Precision))
    parser.add_argument("--scans", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20, help="training steps in one measurement")
    parser.add_argument("--matrix", type=int, default=4096, help="side of the matrices whose product is timed")
    arguments = parser.parse_args()
    settings = _settings(arguments)
    channels = params.load("context", ContextParams, arguments.params).slices
    devices.prepare(1, settings.precision)
    with tempfile.TemporaryDirectory() as folder, devices.training_scope():
        report(settings, channels, Path(folder), arguments)


def report(settings: TrainingParams, channels: int, folder: Path, arguments: argparse.Namespace) -> None:
    """Print the settings, the speeds and the shares."""
    sampler = PatchSampler(
        made_up_scans(folder, arguments.scans, channels),
        settings.sampling,
        params.load("lung_roi", LungRoiParams, arguments.params),
    )
    model = compiled(channels, settings)
    steps, batch_size, side = arguments.steps, settings.batch_size, settings.sampling.patch_px
    drawn = drawn_epoch(sampler, batch_size, steps, (1, 1), augment=True)
    first = drawn[0]
    same = DrawnEpoch(lambda _: first, steps, (1, 1))
    drawing = best_seconds(lambda: [drawn[index] for index in range(5)]) / 5
    model.fit(drawn, verbose=0, shuffle=False)  # compiles
    fixed, real = np.inf, np.inf
    for _ in range(REPEATS):  # alternating, so that other load on the machine affects both
        fixed = min(fixed, best_seconds(lambda: model.fit(same, verbose=0, shuffle=False), 1) / steps)
        real = min(real, best_seconds(lambda: model.fit(drawn, verbose=0, shuffle=False), 1) / steps)
    ask = InferenceNetwork(model, settings.network)
    images = np.zeros((*ANSWERED, channels), dtype=np.float32)
    ask(images)  # compiles
    answer = best_seconds(lambda: ask(images))
    precision = keras.config.dtype_policy().compute_dtype
    peak = matrix_flops(arguments.matrix, precision)
    achieved = 3 * forward_flop(settings.network, channels, side) * batch_size / fixed
    print(
        f"backend {keras.backend.backend()}, GPUs {devices.gpu_count()}, {precision}, {drawn.workers} feeding thread(s)"
    )
    shape = settings.network
    print(f"{shape.filters} filters, depth {shape.depth}, stem stride {shape.stem_stride}")
    print(f"{batch_size} x {side} x {side} pixels\n")
    print("| what | value |\n| --- | ---: |")
    print(f"| milliseconds of a step, one batch that stays the same | {1000 * fixed:.0f} |")
    count, height, width = ANSWERED
    print(f"| milliseconds for {count} slices of {height} x {width} pixels, once trained | {1000 * answer:.0f} |")
    print(f"| images a second, patches drawn as in training | {batch_size / real:.1f} |")
    print(f"| images a second, one batch that stays the same | {batch_size / fixed:.1f} |")
    print(f"| share of the time that training waits for data | {max(0.0, 1 - fixed / real):.1%} |")
    print(f"| images a second that one thread draws | {batch_size / drawing:.1f} |")
    print(f"| FLOP/s of the network in training | {achieved:.3g} |")
    print(f"| FLOP/s of a product of {arguments.matrix} x {arguments.matrix} matrices | {peak:.3g} |")
    print(f"| share of it that training reaches | {achieved / peak:.1%} |")
    on_disk = sum(file.stat().st_size for file in folder.rglob("*.npy"))
    memory = psutil.Process().memory_info()
    print(f"| GiB of scans on disk ({arguments.scans}) | {on_disk / 2**30:.1f} |")
    print(f"| GiB of memory, maps of files not counted | {(memory.rss - memory.shared) / 2**30:.1f} |")


def made_up_scans(folder: Path, scans: int, channels: int) -> list[SliceSet]:
    """Noise with one nodule per scan, stored in files."""
    random, sets = np.random.default_rng(1), []
    for number in range(scans):
        hu = random.integers(-1000, 400, (SLICES, HEIGHT, WIDTH, channels), dtype=np.int16)
        everywhere = np.ones(hu.shape[:3], dtype=bool)
        nodules = np.zeros(hu.shape[:3], dtype=np.uint8)
        nodules[:4, 100:108, 90:98] = 1
        centres = np.array([[row, 104, 94, 0] for row in range(4)])
        (folder / str(number)).mkdir()
        SliceSet(hu, everywhere, nodules, everywhere, centres, np.full(4, 8.0)).save(folder / str(number))
        sets.append(SliceSet.load(folder / str(number)))
    return sets


def forward_flop(shape: UNetParams, channels: int, side: int) -> int:
    """FLOP of all convolutions for one image of `side` x `side` pixels."""
    image = keras.Input((side, side, channels))
    sized = keras.models.clone_model(build(shape, channels), input_tensors=image)
    layers = [layer for layer in sized.layers if isinstance(layer, keras.layers.Conv2D)]
    return sum(2 * int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:3])) for layer in layers)


def matrix_flops(side: int, precision: str) -> float:
    """FLOP per second of a matrix product, the best of several runs."""
    random = np.random.default_rng(1)
    left, right = (keras.ops.cast(random.random((side, side), dtype=np.float32), precision) for _ in range(2))
    products = 20 if devices.gpu_count() else 2

    def multiply() -> None:
        for _ in range(products):
            answer = keras.ops.matmul(left, right)
        keras.ops.convert_to_numpy(answer[:1, :1])  # waits for all

    multiply()
    return products * 2 * side**3 / best_seconds(multiply)


def best_seconds(action: Callable[[], object], repeats: int = REPEATS) -> float:
    """Wall time of the fastest call."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _settings(arguments: argparse.Namespace) -> TrainingParams:
    settings = params.load("unet", TrainingParams, arguments.params)
    network = replace(
        settings.network,
        filters=arguments.filters or settings.network.filters,
        depth=arguments.depth or settings.network.depth,
        stem_stride=arguments.stem_stride or settings.network.stem_stride,
    )
    sampling = replace(settings.sampling, patch_px=arguments.patch_px or settings.sampling.patch_px)
    return replace(
        settings,
        network=network,
        sampling=sampling,
        batch_size=arguments.batch_size or settings.batch_size,
        precision=arguments.precision or settings.precision,
    )


if __name__ == "__main__":
    main()
