"""Square windows on an image: cut out straight, or seen through a turn and a magnification."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def turn(array: NDArray, turns: int, mirror: bool) -> NDArray:
    """Turn by quarters, then mirror left-right."""
    array = np.rot90(array, turns, axes=(0, 1))
    return np.ascontiguousarray(array[:, ::-1] if mirror else array)


def look_through(
    warp: NDArray[np.float64], layers: Sequence[NDArray], y: float, x: float, size: int
) -> list[NDArray[np.float32]]:
    """Squares of `size` pixels centred at (y, x) of several layers of one image, seen through the warp.

    Linear interpolation; outside the image its edge repeats. The places are worked out once for all layers and
    channels, which `scipy.ndimage.affine_transform` would do for each.
    """
    height, width = layers[0].shape[:2]
    steps = np.arange(size) - (size - 1) / 2
    rows = np.clip(y + warp[0, 0] * steps[:, None] + warp[0, 1] * steps, 0, height - 1)
    columns = np.clip(x + warp[1, 0] * steps[:, None] + warp[1, 1] * steps, 0, width - 1)
    top, left = rows.astype(np.int64), columns.astype(np.int64)
    below, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    first, down = top * width + left, np.where(top < height - 1, width, 0)
    across = (left < width - 1).astype(np.int64)
    corners = (
        (first, (1 - below) * (1 - right)),
        (first + across, (1 - below) * right),
        (first + down, below * (1 - right)),
        (first + down + across, below * right),
    )
    return [_weighted(layer, corners) for layer in layers]


def _weighted(layer: NDArray, corners: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> NDArray[np.float32]:
    pixels = layer.reshape(layer.shape[0] * layer.shape[1], *layer.shape[2:])
    total: NDArray[np.float32] = np.zeros((*corners[0][0].shape, *layer.shape[2:]), dtype=np.float32)
    for places, shares in corners:
        total += np.take(pixels, places, axis=0) * shares.reshape(shares.shape + (1,) * (layer.ndim - 2))
    return total


def cut(image: NDArray, y: int, x: int, size: int) -> NDArray[np.float32]:
    """A square of `size` pixels centred at (y, x); its part outside the image repeats the image's edge."""
    rows = np.clip(np.arange(y - size // 2, y - size // 2 + size), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(x - size // 2, x - size // 2 + size), 0, image.shape[1] - 1)
    part = np.asarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], dtype=np.float32)
    if part.shape[:2] == (size, size):
        return part
    return part[np.ix_(rows - rows[0], columns - columns[0])]
