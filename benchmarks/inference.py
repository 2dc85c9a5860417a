"""Speed and peak memory of the full-size U-Net on one scan: whole lung box, tiles, and whole 512 x 512 slices.

Run it as `python benchmarks/inference.py --scan DATA/dicom/LIDC-IDRI-0001.zip`, where DATA is the folder that
NODULES_REAL_DATA names. It prints the table of `inference.md`. The network has the tutorial's 32 filters and 4
poolings. Its weights are random, which does not change the speed. Every method segments the same slices, in a process
of its own:

- box: `Segmenter`, as in the pipeline, with 8 slices of the lungs' box per call;
- tiles: the same box in squares of the training size that overlap by a quarter, with averaged predictions;
- slices: `model.predict` on whole slices at the scan's own resolution, as in the tutorial, with 1 or 8 per call.

In the first two, normalisation and upsampling are folded into the convolutions (`models.unet.inference.fold`).

The times include the preparation of the network's input, but not reading the scan and finding the lungs. One call
beforehand, on the same shapes, compiles the network.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodules import params
from nodules.imaging.geometry.volume import Volume, window
from nodules.imaging.lungs.segment import LungMaskParams, find_lungs
from nodules.imaging.network_input import lung_roi, slice_context
from nodules.imaging.network_input.lung_roi import LungRoi, LungRoiParams
from nodules.imaging.network_input.slice_context import ContextParams
from nodules.scans.read import read_scan
from nodules.scans.result import ReadingParams

FILTERS, DEPTH = 32, 4
TILE_PX, STRIDE_PX, TILE_BATCH = 192, 144, 8
WAYS = {
    "box": "lung box, 8 slices a call (`Segmenter`)",
    "tiles": f"lung box in tiles of {TILE_PX} pixels, {TILE_BATCH} a call",
    "slices1": "whole slices, 1 a call (`model.predict`)",
    "slices8": "whole slices, 8 a call (`model.predict`)",
}


def main() -> None:
    """Measure each method in a process of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=Path, required=True)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--slices", type=int, default=48, help="how many slices, from the middle of the lungs")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measure(arguments)))
        return
    command = [
        sys.executable,
        __file__,
        *(f"--{name}={getattr(arguments, name)}" for name in ("scan", "params", "slices")),
    ]
    rows = {}
    for way in WAYS:
        answer = subprocess.run([*command, f"--way={way}"], check=True, stdout=subprocess.PIPE, text=True)
        rows[way] = json.loads(answer.stdout.splitlines()[-1])
    first = rows["box"]
    print(f"\n{arguments.scan.stem}, {first['slices']} slices, {FILTERS} filters, depth {DEPTH}, {first['device']}\n")
    print("| way | pixels of an image | slices/s | s for these slices | times the box | peak memory, GiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for way, row in rows.items():
        share = row["seconds"] / first["seconds"]
        print(
            f"| {WAYS[way]} | {row['pixels']} | {row['slices'] / row['seconds']:.2f} | {row['seconds']:.1f} "
            f"| {share:.2f} | {row['peak_gib']:.2f} |"
        )


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds, and peak memory of this process, with its scan and libraries."""
    import keras

    from nodules.models.runtime import devices
    from nodules.models.unet.network import UNetParams, build

    roi = params.load("lung_roi", LungRoiParams, arguments.params)
    context = params.load("context", ContextParams, arguments.params)
    scan, region = prepared(arguments, roi)
    keras.utils.set_random_seed(1)
    devices.share_gpus()
    shape = UNetParams(FILTERS, DEPTH, stem_stride=1, normalisation="batch", residual=False)
    network = build(shape, context.slices)
    run, pixels = {
        "box": lambda: box(network, shape, region, roi, context),
        "tiles": lambda: tiles(as_segmenter(network, shape), region, roi, context),
        "slices1": lambda: whole_slices(network, scan, region, roi, context, batch_size=1),
        "slices8": lambda: whole_slices(network, scan, region, roi, context, batch_size=8),
    }[arguments.way]()
    run(9)  # a whole call and the rest of one: both shapes are compiled
    slices = int(region.visible_zyx.any(axis=(1, 2)).sum())
    start = time.perf_counter()
    run(slices)
    seconds = time.perf_counter() - start
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    device = f"{keras.backend.backend()}, {devices.gpu_count()} GPU(s)"
    return {
        "seconds": seconds,
        "slices": slices,
        "pixels": pixels,
        "peak_gib": peak_kib / 2**20,
        "device": device,
    }


def prepared(arguments: argparse.Namespace, roi: LungRoiParams) -> tuple[Volume, LungRoi]:
    """The scan, and the box of its lungs, in which all but `--slices` slices in the middle are hidden."""
    scan = read_scan(arguments.scan, params.load("reading", ReadingParams, arguments.params)).volume
    lungs = find_lungs(scan, params.load("lung_mask", LungMaskParams, arguments.params)).labels_zyx
    region = lung_roi.extract(scan, lungs, roi)
    shown = np.flatnonzero(region.visible_zyx.any(axis=(1, 2)))
    first = max(0, (len(shown) - arguments.slices) // 2)
    hidden = np.setdiff1d(np.arange(len(region.visible_zyx)), shown[first : first + arguments.slices])
    visible = region.visible_zyx.copy()
    visible[hidden] = False
    return scan, LungRoi(region.scan, region.lungs_zyx, visible)


Way = tuple[Callable[[int], None], str]


def as_segmenter(network: Any, shape: Any) -> Any:
    """Network in the form that `Segmenter` uses; whole slices use the tutorial's form."""
    from nodules.models.unet.inference import InferenceNetwork

    return InferenceNetwork(network, shape, TILE_BATCH)


def box(network: Any, shape: Any, region: LungRoi, roi: LungRoiParams, context: ContextParams) -> Way:
    """Segment the lung box as the pipeline does."""
    from nodules.models.unet.segmenter import Segmenter, SegmenterParams, SegmenterSettings

    segmenter = Segmenter(
        [network], SegmenterSettings(shape, roi, context, SegmenterParams(flips=1, precision="float32"))
    )

    def run(count: int) -> None:
        visible = region.visible_zyx.copy()
        visible[_shown(region)[count:]] = False
        segmenter.predict(LungRoi(region.scan, region.lungs_zyx, visible))

    return run, "{1} x {2}".format(*region.scan.shape_zyx)


def tiles(ask: Any, region: LungRoi, roi: LungRoiParams, context: ContextParams) -> Way:
    """Segment squares of one size in batches; where they overlap, predictions are averaged."""
    height, width = (max(size, TILE_PX) for size in region.scan.shape_zyx[1:])
    corners = [(y, x) for y in _starts(height) for x in _starts(width)]

    def run(count: int) -> None:
        shown = _shown(region)[:count]
        total, times = (np.zeros((len(shown), height, width), dtype=np.float32) for _ in range(2))
        for places, batch in _tile_batches(region, shown, corners, (height, width), roi, context):
            for (row, y, x), answer in zip(places, ask(batch), strict=True):
                part = (row, slice(y, y + TILE_PX), slice(x, x + TILE_PX))
                total[part] += answer
                times[part] += 1
        total /= times

    return run, f"{len(corners)} x {TILE_PX} x {TILE_PX}"


def whole_slices(
    network: Any, scan: Volume, region: LungRoi, roi: LungRoiParams, context: ContextParams, batch_size: int
) -> Way:
    """Segment whole slices with a single `predict` on one array."""
    first = round(float(scan.world_to_voxel(region.scan.origin_xyz_mm)[0]))
    count_z, slice_mm = scan.shape_zyx[0], scan.spacing_zyx_mm[0]
    rows = {index: index for index in range(count_z)}

    def run(count: int) -> None:
        stacks = [
            slice_context.stack(scan.voxels_zyx, rows, first + int(index), context, slice_mm, count_z)
            for index in _shown(region)[:count]
        ]
        network.predict(window(np.stack(stacks), *roi.window_hu), batch_size=batch_size, verbose=0)

    return run, "{1} x {2}".format(*scan.shape_zyx)


def _shown(region: LungRoi) -> NDArray[np.int64]:
    return np.flatnonzero(region.visible_zyx.any(axis=(1, 2)))


def _starts(size: int) -> list[int]:
    """Starts of tiles that cover `size` pixels; the last tile is flush with the end."""
    return sorted({min(start, size - TILE_PX) for start in range(0, size - TILE_PX + STRIDE_PX, STRIDE_PX)})


def _tile_batches(
    region: LungRoi,
    shown: NDArray[np.int64],
    corners: list[tuple[int, int]],
    size: tuple[int, int],
    roi: LungRoiParams,
    context: ContextParams,
) -> Iterator[tuple[list[tuple[int, int, int]], NDArray[np.float32]]]:
    """Positions (row, y, x) and images of up to `TILE_BATCH` tiles."""
    places: list[tuple[int, int, int]] = []
    images: list[NDArray[np.float32]] = []
    for row, index in enumerate(shown):
        image = lung_roi.network_input(region, [int(index)], roi, context)[0]
        image = np.pad(image, ((0, size[0] - image.shape[0]), (0, size[1] - image.shape[1]), (0, 0)))
        for y, x in corners:
            places.append((row, y, x))
            images.append(image[y : y + TILE_PX, x : x + TILE_PX])
            if len(images) == TILE_BATCH:
                yield places, np.stack(images)
                places, images = [], []
    if images:
        yield places, np.stack(images)


if __name__ == "__main__":
    main()
