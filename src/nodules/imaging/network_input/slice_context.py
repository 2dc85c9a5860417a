"""Neighbouring slices as input channels: a fixed number at a fixed distance in mm, for any slice thickness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray


@dataclass(frozen=True)
class ContextParams:
    """Settings of the section `context` of the parameters.

    Attributes
    ----------
    slices : int
        Odd number of slices in one input. The middle slice is the one to segment.
    distance_mm : float
        Distance between these slices, independent of the slice distance of the scan.
    """

    slices: Annotated[int, Gt(0)]
    distance_mm: Annotated[float, Gt(0)]

    def __post_init__(self) -> None:
        if self.slices % 2 == 0:
            raise ValueError(f"expected an odd number of slices, got {self.slices}")


def positions(index: int, params: ContextParams, slice_mm: float, slice_count: int) -> NDArray[np.float64]:
    """Continuous slice positions of the channels of one input. Beyond either end, the last slice is repeated."""
    half = params.slices // 2
    steps = np.arange(-half, half + 1) * params.distance_mm / slice_mm
    return np.clip(index + steps, 0, slice_count - 1)


def neighbours(index: int, params: ContextParams, slice_mm: float, slice_count: int) -> NDArray[np.int64]:
    """Indices of all slices between the first and the last that one input needs.

    There are no gaps, so a region may end at any of them.
    """
    reach = positions(index, params, slice_mm, slice_count)
    return np.arange(np.floor(reach[0]), np.ceil(reach[-1]) + 1, dtype=np.int64)


def stack(
    slices_zyx: NDArray[Any],
    rows: Mapping[int, int],
    index: int,
    params: ContextParams,
    slice_mm: float,
    slice_count: int,
) -> NDArray[np.float32]:
    """Channels (Y, X, C) of one input, interpolated linearly between slices.

    Parameters
    ----------
    slices_zyx : (N, Y, X) ndarray
        Available slices.
    rows : mapping
        Maps a slice index to its row in `slices_zyx`.
    index : int
        Index of the middle slice.

    Raises
    ------
    KeyError
        If a needed slice is not available.
    """
    channels = []
    for position in positions(index, params, slice_mm, slice_count):
        low, high = int(np.floor(position)), int(np.ceil(position))
        share = np.float32(position - low)
        channel = slices_zyx[rows[low]].astype(np.float32)
        if share > 0:
            channel = channel * (1 - share) + slices_zyx[rows[high]].astype(np.float32) * share
        channels.append(channel)
    return np.stack(channels, axis=-1)
