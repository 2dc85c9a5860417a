"""Switches for the defects of the tutorial's published code in its image-processing steps."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class TutorialDefects:
    """Defects of the published code, each with a switch. With all switches off, the steps do what the text describes.

    With all switches on, the steps are those of the web page. With `grey_values_wrap_at_16_bit` off and all others on,
    they are those of the last state of the tutorial's repository.

    Attributes
    ----------
    grey_values_wrap_at_16_bit : bool
        Each slice is stretched to 16 bits after its minimum is subtracted twice, and values above 65,535 wrap around to
        0, so tissue becomes darker than lung. Otherwise grey values are HU.
    any_dark_half_is_lung : bool
        The darker of the two clusters of a slice counts as lung, even if it is fat in a slice below the lungs.
        Otherwise it must be as dark as `max_lung_hu`.
    air_outside_taken_for_lung : bool
        Air outside the body counts as lung if its bounding box is small and central enough. Otherwise air that is
        connected to the slice's edge is excluded.
    masks_shifted_by_even_footprints : bool
        All footprints of even size are off centre in the same direction, so the lung mask grows by 9 pixels up and left
        and by 6 down and right. Otherwise the last dilation is mirrored, and the mask grows by 8 and 7.
    background_from_darkest_voxel : bool
        Every pixel with the smallest value of the masked slice becomes background. In HU this is the darkest voxel of
        the lungs, and the pixels outside the lungs stay at 0 HU, as bright as a nodule. Otherwise every pixel outside
        the lung mask becomes background.
    each_slice_its_own_grey_scale : bool
        Each slice is scaled by its own mean, standard deviation and range. Otherwise all slices are scaled by the mean
        and standard deviation of the lungs of the whole scan.
    each_slice_its_own_square : bool
        Each slice is magnified until its own lungs fill the image. Otherwise all slices of a scan are cropped to one
        square, around the pixels that are lung in at least one in twenty of the slices with lungs.
    crop_down_right : bool
        The square starts at the upper left corner of the lungs' bounding box; it is cut at the slice's edge, and the
        crop is then stretched. Otherwise the square is centred on the lungs and moved into the slice.
    slices_without_lungs_dropped : bool
        Slices without lungs are dropped, so later slices move up. Otherwise they become slices of background.
    edge_slices_repeated : bool
        A neighbour above the first slice or below the last is replaced by that slice. Otherwise it is left out.
    other_nodules_are_background : bool
        A slice is listed once for every nodule that selects it, and each mask shows that nodule alone. Otherwise it is
        listed once, and its mask shows all nodules.
    diameter_taken_for_radius : bool
        Nodules are drawn with twice the diameter and four times the area.
    pixel_indices_truncated : bool
        Positions in mm are converted back to pixel indices by truncation, so some pixels move to a neighbour and leave
        holes.
    direction_ignored : bool
        The direction cosines of the scan are ignored: its axes are taken for the world axes.
    node_mask_divided_by_255 : bool
        Resizing scales the mask from 0 and 1 to 0 and 1 / 255. An empty prediction is then the best one.
    regions_inverted : bool
        A region consists of the pixels below the mean of the predicted slice, that is, of everything but the nodules.
        Otherwise it consists of the pixels that reach `min_probability`.
    regions_counted_in_every_slice : bool
        A nodule counts once in every slice that shows it. Otherwise it counts once, with its largest cross-section.
    features_in_resized_pixels : bool
        Areas, diameters and positions are in pixels of the magnified square. Otherwise they are in mm.
    x_and_y_swapped : bool
        `weightedX` is the row and `weightedY` the column. Otherwise X is the column and Y the row.
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
        """Return the defects with every switch on."""
        return cls(**{field.name: True for field in fields(cls)})
