"""The mistakes of the tutorial's published code, each one a switch."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class TutorialDefects:
    """What goes wrong where a switch is on; without any, the steps do what the tutorial's text means.

    The page and the repository's last state differ in one switch: with `grey_values_wrap_at_16_bit` off, the steps are
    those of the repository's last state.

    Attributes
    ----------
    grey_values_wrap_at_16_bit : bool
        Each slice is stretched to 16 bits after its minimum was subtracted twice, and what exceeds 65,535 starts again
        at 0: tissue becomes darker than lung. Otherwise grey values are HU.
    any_dark_half_is_lung : bool
        The darker of the two classes of a slice counts as lung though it be fat in a slice below the lungs.
    air_outside_taken_for_lung : bool
        Air beside the body is lung where its bounding box is small and central enough. Otherwise it is not, as it
        reaches the slice's edge.
    masks_shifted_by_even_footprints : bool
        All footprints of even size lean the same way, so that the lungs' mask grows by 9 pixels up and left and by 6
        down and right. Otherwise the last dilation leans the other way: 8 and 7.
    background_from_darkest_voxel : bool
        Outside the lungs is what has the smallest value of the masked slice. In HU that is the darkest voxel of the
        lungs, and what is outside stays at 0 HU, as bright as a nodule. Otherwise it is what the mask leaves out.
    each_slice_its_own_grey_scale : bool
        Mean, deviation and range of each slice scale that slice. Otherwise the mean and deviation of the lungs of the
        whole scan scale all its slices.
    each_slice_its_own_square : bool
        Each slice is magnified by what makes its own lungs fill the image. Otherwise one square serves a scan: that
        around the pixels that are lung in at least one of twenty slices with lungs.
    crop_down_right : bool
        The square grows from the lungs' upper left corner; beyond the slice it is cut and then stretched. Otherwise it
        is centred on the lungs and moved into the slice.
    slices_without_lungs_dropped : bool
        They leave no trace, so later slices move up. Otherwise they are slices of background.
    edge_slices_repeated : bool
        A neighbour above the first or below the last slice is that slice again. Otherwise it is left out.
    other_nodules_are_background : bool
        A slice is listed for each nodule that chose it, and its mask has that nodule alone. Otherwise it is listed once
        with all nodules.
    diameter_taken_for_radius : bool
        Nodules are drawn twice as wide, four times as large.
    pixel_indices_truncated : bool
        A pixel's place in mm is turned back to an index by cutting off decimals, so that some pixels go to their
        neighbour and leave holes.
    direction_ignored : bool
        World axes are taken for the axes of the grid.
    node_mask_divided_by_255 : bool
        Resizing the mask scales its 1 to 1 / 255, for which an empty prediction is the best one.
    regions_inverted : bool
        A region is what lies below the mean of the predicted slice: all but the nodules. Otherwise it is what reaches
        the chosen probability.
    regions_counted_in_every_slice : bool
        A nodule counts once for each slice it is in. Otherwise once, with its largest cross-section.
    features_in_resized_pixels : bool
        Areas, diameters and places are in pixels of the magnified square. Otherwise in mm.
    x_and_y_swapped : bool
        `weightedX` is the row and `weightedY` the column.
    """

    grey_values_wrap_at_16_bit: bool = False
    any_dark_half_is_lung: bool = False
    air_outside_taken_for_lung: bool = False
    masks_shifted_by_even_footprints: bool = False
    background_from_darkest_voxel: bool = False
    each_slice_its_own_grey_scale: bool = False
    each_slice_its_own_square: bool = False
    crop_down_right: bool = False
    slices_without_lungs_dropped: bool = False
    edge_slices_repeated: bool = False
    other_nodules_are_background: bool = False
    diameter_taken_for_radius: bool = False
    pixel_indices_truncated: bool = False
    direction_ignored: bool = False
    node_mask_divided_by_255: bool = False
    regions_inverted: bool = False
    regions_counted_in_every_slice: bool = False
    features_in_resized_pixels: bool = False
    x_and_y_swapped: bool = False

    @classmethod
    def as_published(cls) -> TutorialDefects:
        """All of them at once."""
        return cls(**{field.name: True for field in fields(cls)})
