"""Square region of interest around the lungs: finding it, cropping a slice to it, and restoring a crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.transform import resize

MIN_SIDE_PX = 5


@dataclass(frozen=True)
class RoiBox:
    """Bounding box in pixels of a slice; it may reach beyond the slice.

    Attributes
    ----------
    top, left : int
        First row and column.
    bottom, right : int
        Row and column after the last.
    """

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Height and width in pixels of the slice."""
        return self.bottom - self.top, self.right - self.left

    def crop(self, plane_yx: NDArray[Any], outside: float) -> NDArray[Any]:
        """Crop a slice to the box; pixels beyond the slice have the value `outside`."""
        cut = np.full(self.shape_yx, outside, dtype=plane_yx.dtype)
        here, there = self._overlap(plane_yx.shape)
        cut[here] = plane_yx[there]
        return cut

    def restore(self, image_yx: NDArray[Any], shape_yx: tuple[int, int]) -> NDArray[np.float32]:
        """Resize an image of the box, of any size, to the box and place it in a slice of zeros."""
        plane = np.zeros(shape_yx, dtype=np.float32)
        here, there = self._overlap(shape_yx)
        plane[there] = resize(image_yx, self.shape_yx)[here]
        return plane

    def pixel_mm(self, spacing_yx_mm: tuple[float, float], size_px: int) -> float:
        """Pixel side of the box's image in mm; if its pixels are not square, the side of a square of equal area."""
        height, width = self.shape_yx
        return float(np.sqrt(height * spacing_yx_mm[0] * width * spacing_yx_mm[1])) / size_px

    def _overlap(self, shape_yx: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Index ranges of the part of the box inside the slice, in the box and in the slice."""
        here, there = [], []
        for start, stop, size in zip((self.top, self.left), (self.bottom, self.right), shape_yx, strict=True):
            low, high = min(max(start, 0), size), min(max(stop, 0), size)
            there.append(slice(low, high))
            here.append(slice(low - start, high - start))
        return (here[0], here[1]), (there[0], there[1])


def lung_square(lungs_yx: NDArray[np.bool_], *, down_right: bool = False) -> RoiBox | None:
    """Find the square around the lungs.

    Parameters
    ----------
    lungs_yx : (Y, X) ndarray of bool
        Lung mask of a slice, or the projection of all slices of a scan.
    down_right : bool
        Apply the defect `crop_down_right`: the square starts at the first row and column of the lungs and is cut at the
        slice's edge. Otherwise it is centred on the lungs and moved into the slice; it reaches beyond the slice only if
        the slice is smaller than the square.

    Returns
    -------
    RoiBox or None
        None if the lungs are less than 5 pixels long.
    """
    if not lungs_yx.any():
        return None
    rows, columns = np.flatnonzero(lungs_yx.any(axis=1)), np.flatnonzero(lungs_yx.any(axis=0))
    extents = [(int(indices[0]), int(indices[-1]) + 1) for indices in (rows, columns)]
    side = max(stop - start for start, stop in extents)
    if side < MIN_SIDE_PX:
        return None
    if down_right:
        ends = [min(start + side, size) for (start, _), size in zip(extents, lungs_yx.shape, strict=True)]
        return RoiBox(extents[0][0], extents[1][0], ends[0], ends[1])
    (top, bottom), (left, right) = (
        _centred(start, stop, side, size) for (start, stop), size in zip(extents, lungs_yx.shape, strict=True)
    )
    return RoiBox(top, left, bottom, right)


def square_at(centre_yx: tuple[float, float], side_px: int) -> RoiBox:
    """Square of a given side around a point, for a close-up."""
    top, left = (round(float(place) - (side_px - 1) / 2) for place in centre_yx)
    return RoiBox(top, left, top + side_px, left + side_px)


def _centred(start: int, stop: int, side: int, size: int) -> tuple[int, int]:
    first = (start + stop - side) // 2
    first = max(0, min(first, size - side)) if side <= size else (size - side) // 2
    return first, first + side
