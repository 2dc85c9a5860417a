"""The neighbouring slices that a slice is seen with: a fixed number at a fixed distance, on scans of any thickness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray


@dataclass(frozen=True)
class ContextParams:
    """The section `context`.

    Attributes
    ----------
    slices : int
        Odd number of slices in one input, the one to segment in the middle.
    distance_mm : float
        Between these slices, whatever the scan's own slice distance.
    """

    slices: Annotated[int, Gt(0)]
    distance_mm: Annotated[float, Gt(0)]

    def __post_init__(self) -> None:
        if self.slices % 2 == 0:
            raise ValueError(f"slices must be odd, got {self.slices}")


def positions(index: int, params: ContextParams, slice_mm: float, slice_count: int) -> NDArray[np.float64]:
    """Continuous slice positions of one input's channels; beyond the ends the last slice repeats."""
    half = params.slices // 2
    steps = np.arange(-half, half + 1) * params.distance_mm / slice_mm
    return np.clip(index + steps, 0, slice_count - 1)


def neighbours(index: int, params: ContextParams, slice_mm: float, slice_count: int) -> NDArray[np.int64]:
    """Indices of the slices that one input can need, without gaps, so that a region may end at any of them."""
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
    """One input's channels (Y, X, C), interpolated linearly between slices.

    Parameters
    ----------
    slices_zyx : (N, Y, X) ndarray
        The slices at hand.
    rows : mapping
        Row in `slices_zyx` by slice index.
    index : int
        The slice in the middle.

    Raises
    ------
    KeyError
        If a slice that is needed is not at hand.
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
