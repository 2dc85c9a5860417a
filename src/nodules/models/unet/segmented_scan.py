"""One scan through the U-Net, for the stages that keep the answer and for the served model that uses it at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nodules.imaging.candidates.probability_map import Segmentation, responding_hu
from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.segment import lung_measures
from nodules.imaging.network_input.lung_roi import extract
from nodules.models.unet.segmenter import Segmenter


@dataclass(frozen=True)
class SegmentedScan:
    """A scan after the U-Net.

    Attributes
    ----------
    lungs : Volume
        uint8 labels on the scan's grid.
    segmentation : Segmentation
        The network's answer on the region's grid.
    lung_measures : mapping of str to float
        Of the lungs on the scan's grid.
    """

    lungs: Volume
    segmentation: Segmentation
    lung_measures: Mapping[str, float]


def segment_region(volume: Volume, lungs: Volume, segmenter: Segmenter) -> SegmentedScan:
    """The nodule probability of every slice that shows the lungs."""
    region = extract(volume, lungs.voxels_zyx, segmenter.roi)
    probability = segmenter.predict(region)
    hu = region.scan.with_voxels(responding_hu(region.scan.voxels_zyx, probability, region.scan.spacing_zyx_mm))
    segmentation = Segmentation(hu, region.lungs_zyx, probability)
    return SegmentedScan(lungs, segmentation, lung_measures(volume, lungs.voxels_zyx))
