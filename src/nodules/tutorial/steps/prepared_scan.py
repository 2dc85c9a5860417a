"""A scan as the tutorial's network sees it: which slices, in which square, on which grey scale; and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.tutorial.steps.grey_values import grey_values
from nodules.tutorial.steps.lung_steps import find_lung_steps
from nodules.tutorial.steps.renormalising import BACKGROUND_SD, GreyScale, pooled, renormalise, scale_of, stretch_range
from nodules.tutorial.steps.resizing import resize_image, resize_mask
from nodules.tutorial.steps.roi_box import RoiBox, square_around
from nodules.tutorial.steps.settings import TutorialParams

COMMON_SHARE = 0.05
"""Of the slices with lungs: what is lung in fewer, gas of the bowel for one, does not widen the scan's square."""


@dataclass(frozen=True)
class PreparedScan:
    """All that is needed to make the network's images of a scan, slice by slice.

    Attributes
    ----------
    scan : Volume
        HU.
    params : TutorialParams
        What it was prepared with.
    lungs_zyx : (Z, Y, X) ndarray of bool
        Found in each slice by itself.
    found : tuple of bool
        Whether a slice shows lungs at least 5 pixels long.
    boxes : tuple of RoiBox
        Of each slice; the whole slice where there are no lungs to cut to.
    scales : tuple of GreyScale
        Of each slice; mean and deviation 0 where there are no lungs to take them from.
    """

    scan: Volume
    params: TutorialParams
    lungs_zyx: NDArray[np.bool_]
    found: tuple[bool, ...]
    boxes: tuple[RoiBox, ...]
    scales: tuple[GreyScale, ...]

    @property
    def kept(self) -> tuple[int, ...]:
        """Indices of the slices that go on: all, or those with lungs if the others are dropped."""
        dropped = self.params.defects.slices_without_lungs_dropped
        return tuple(z for z, found in enumerate(self.found) if found or not dropped)

    def renormalised(self, z: int) -> NDArray[np.float64]:
        """The slice on its grey scale, everything outside the lungs background."""
        return renormalise(
            _grey(self.scan, z, self.params),
            self.lungs_zyx[z],
            self.scales[z],
            from_darkest=self.params.defects.background_from_darkest_voxel,
        )

    def image(self, z: int) -> NDArray[np.float32]:
        """The network's image of a slice: `size_px` x `size_px`."""
        beyond = -BACKGROUND_SD if self.scales[z].deviation else 0.0
        cut = self.boxes[z].crop(self.renormalised(z), outside=beyond)
        if self.params.defects.each_slice_its_own_grey_scale:
            cut = stretch_range(cut)
        return resize_image(cut, self.params.size_px)

    def node_mask(self, z: int, node_mask_yx: NDArray[np.bool_]) -> NDArray[np.float32]:
        """A mask of the slice's own pixels, cut and resized as its image is."""
        return resize_mask(
            self.boxes[z].crop(node_mask_yx, outside=False),
            self.params.size_px,
            divided_by_255=self.params.defects.node_mask_divided_by_255,
        )

    def restore(self, z: int, answer_yx: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's answer to a slice on the slice's own pixels, 0 outside the square."""
        _, rows, columns = self.scan.shape_zyx
        return self.boxes[z].restore(answer_yx, (rows, columns))

    def pixel_mm(self, z: int) -> float:
        """Side of a pixel of the slice's image."""
        _, y_mm, x_mm = self.scan.spacing_zyx_mm
        return self.boxes[z].pixel_mm((y_mm, x_mm), self.params.size_px)


def find_lungs(scan: Volume, params: TutorialParams) -> NDArray[np.bool_]:
    """Lungs (Z, Y, X) bool, found in each slice by itself."""
    return np.stack([find_lung_steps(plane, params).lungs_yx for plane in scan.voxels_zyx])


def prepare(scan: Volume, params: TutorialParams, lungs_zyx: NDArray[np.bool_] | None = None) -> PreparedScan:
    """Find the lungs of every slice, and the square and grey scale of the scan.

    Parameters
    ----------
    scan : Volume
        HU.
    params : TutorialParams
        With the defects to be shown.
    lungs_zyx : (Z, Y, X) ndarray of bool, optional
        What `find_lungs` has found before: that takes longer than all the rest, and many settings share it.

    Raises
    ------
    ValueError
        If the lungs are not of the scan's shape.
    """
    defects = params.defects
    if lungs_zyx is None:
        lungs_zyx = find_lungs(scan, params)
    if lungs_zyx.shape != scan.shape_zyx or lungs_zyx.dtype != bool:
        raise ValueError(
            f"lungs must be bool of the scan's shape {scan.shape_zyx}, got {lungs_zyx.dtype} of {lungs_zyx.shape}"
        )
    squares = [square_around(lungs, down_right=defects.crop_down_right) for lungs in lungs_zyx]
    found = tuple(square is not None for square in squares)
    scales = [scale_of(_grey(scan, z, params)[lungs]) if lungs.any() else None for z, lungs in enumerate(lungs_zyx)]
    if not defects.each_slice_its_own_square:
        common = lungs_zyx.sum(axis=0) >= max(1.0, COMMON_SHARE * sum(found))
        squares = [square_around(common, down_right=defects.crop_down_right)] * len(squares)
    if not defects.each_slice_its_own_grey_scale and any(scales):
        scales = [pooled([scale for scale in scales if scale is not None])] * len(scales)
    _, rows, columns = scan.shape_zyx
    return PreparedScan(
        scan=scan,
        params=params,
        lungs_zyx=lungs_zyx,
        found=found,
        boxes=tuple(square or RoiBox(0, 0, rows, columns) for square in squares),
        scales=tuple(scale or GreyScale(0.0, 0.0, 0) for scale in scales),
    )


def _grey(scan: Volume, z: int, params: TutorialParams) -> NDArray[np.float64]:
    if params.defects.grey_values_wrap_at_16_bit:
        return grey_values(scan.voxels_zyx[z], wrap_at_16_bit=True)
    return np.clip(grey_values(scan.voxels_zyx[z]), *params.window_hu)
