"""Preparation of a scan for the tutorial's network: lungs, crop, grey scale and resizing of every slice, and back.

`PreparedScan.image` makes the network's input of a slice. `PreparedScan.restore` resamples a prediction to the slice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.tutorial.steps.grey_values import grey_values
from nodules.tutorial.steps.lung_normalisation import (
    BACKGROUND_SD,
    GreyScale,
    pooled,
    renormalise,
    scale_of,
    stretch_range,
)
from nodules.tutorial.steps.lung_steps import find_lung_steps
from nodules.tutorial.steps.resizing import resize_image, resize_mask
from nodules.tutorial.steps.roi_box import RoiBox, lung_square
from nodules.tutorial.steps.settings import TutorialParams

COMMON_SHARE = 0.05
"""A pixel that is lung in a smaller share of the slices with lungs, such as bowel gas, does not widen the square."""


@dataclass(frozen=True)
class PreparedScan:
    """A scan with everything needed to make the network's image of any of its slices.

    Attributes
    ----------
    scan : Volume
        The scan in HU.
    params : TutorialParams
        The settings it was prepared with.
    lungs_zyx : (Z, Y, X) ndarray of bool
        Lung mask, found in each slice separately.
    found : tuple of bool
        For each slice, whether it shows lungs at least 5 pixels long.
    boxes : tuple of RoiBox
        Crop of each slice; the whole slice if there are no lungs.
    scales : tuple of GreyScale
        Grey scale of each slice; mean and deviation are 0 if there are no lungs.
    """

    scan: Volume
    params: TutorialParams
    lungs_zyx: NDArray[np.bool_]
    found: tuple[bool, ...]
    boxes: tuple[RoiBox, ...]
    scales: tuple[GreyScale, ...]

    @property
    def kept(self) -> tuple[int, ...]:
        """Indices of the slices that are used: all, or those with lungs if the defects drop the others."""
        dropped = self.params.defects.slices_without_lungs_dropped
        return tuple(z for z, found in enumerate(self.found) if found or not dropped)

    def renormalised(self, z: int) -> NDArray[np.float64]:
        """Return the slice (Y, X) on its grey scale, with everything outside the lungs set to background."""
        return renormalise(
            _grey(self.scan, z, self.params),
            self.lungs_zyx[z],
            self.scales[z],
            from_darkest=self.params.defects.background_from_darkest_voxel,
        )

    def image(self, z: int) -> NDArray[np.float32]:
        """Return the network's image of a slice, `size_px` x `size_px`."""
        beyond = -BACKGROUND_SD if self.scales[z].deviation else 0.0
        cut = self.boxes[z].crop(self.renormalised(z), outside=beyond)
        if self.params.defects.each_slice_its_own_grey_scale:
            cut = stretch_range(cut)
        return resize_image(cut, self.params.size_px)

    def node_mask(self, z: int, node_mask_yx: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Crop and resize a mask of the slice's own pixels as its image is."""
        return resize_mask(
            self.boxes[z].crop(node_mask_yx, outside=False),
            self.params.size_px,
            divided_by_255=self.params.defects.node_mask_divided_by_255,
        )

    def restore(self, z: int, prediction_yx: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resample the network's prediction for a slice to the slice's own pixels; 0 outside the square."""
        _, rows, columns = self.scan.shape_zyx
        return self.boxes[z].restore(prediction_yx, (rows, columns))

    def pixel_mm(self, z: int) -> float:
        """Pixel side of the slice's image in mm."""
        _, y_mm, x_mm = self.scan.spacing_zyx_mm
        return self.boxes[z].pixel_mm((y_mm, x_mm), self.params.size_px)


def find_lungs(scan: Volume, params: TutorialParams) -> NDArray[np.bool_]:
    """Segment the lungs of each slice separately; returns a mask (Z, Y, X)."""
    return np.stack([find_lung_steps(plane, params).lungs_yx for plane in scan.voxels_zyx])


def prepare(scan: Volume, params: TutorialParams, lungs_zyx: NDArray[np.bool_] | None = None) -> PreparedScan:
    """Segment the lungs of every slice, and find the crop and the grey scale of every slice.

    Parameters
    ----------
    scan : Volume
        The scan in HU.
    params : TutorialParams
        Settings of the steps, with their defects.
    lungs_zyx : (Z, Y, X) ndarray of bool, optional
        Result of an earlier `find_lungs`. That step takes longer than all others, and many settings share its result.

    Raises
    ------
    ValueError
        If `lungs_zyx` is not bool or does not have the scan's shape.
    """
    defects = params.defects
    if lungs_zyx is None:
        lungs_zyx = find_lungs(scan, params)
    if lungs_zyx.shape != scan.shape_zyx or lungs_zyx.dtype != bool:
        raise ValueError(
            f"lungs_zyx must be bool and of the scan's shape {scan.shape_zyx}, got {lungs_zyx.dtype} {lungs_zyx.shape}"
        )
    squares = [lung_square(lungs, down_right=defects.crop_down_right) for lungs in lungs_zyx]
    found = tuple(square is not None for square in squares)
    scales = [scale_of(_grey(scan, z, params)[lungs]) if lungs.any() else None for z, lungs in enumerate(lungs_zyx)]
    if not defects.each_slice_its_own_square:
        common = lungs_zyx.sum(axis=0) >= max(1.0, COMMON_SHARE * sum(found))
        squares = [lung_square(common, down_right=defects.crop_down_right)] * len(squares)
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
