"""Features of the five nodules most likely to be cancers, in the order of `PatientFindings.ranked`."""

from __future__ import annotations

from nodules.imaging.features.definition import RankedNodule, ranked_feature
from nodules.imaging.lungs.sides import LEFT, RIGHT


@ranked_feature(absent=0.0)
def volume_mm3(nodule: RankedNodule) -> float:
    """Volume of the outlined voxels.

    Unit: mm3
    Source: MacMahon 2017 (Radiology 284:228), Fleischner guidelines: volumetry
    """
    return nodule["volume_mm3"]


@ranked_feature(absent=0.0)
def diameter_mm(nodule: RankedNodule) -> float:
    """Diameter of the ball of the same volume.

    Unit: mm
    Source: McWilliams 2013 (NEJM 369:910), which uses the largest diameter
    """
    return nodule["diameter_mm"]


@ranked_feature(absent=0.0)
def probability(nodule: RankedNodule) -> float:
    """Probability of being a nodule.

    Unit: 1
    Source: candidate scorer
    """
    return nodule["probability"]


@ranked_feature(absent=0.0)
def cancer_probability(nodule: RankedNodule) -> float:
    """Probability of being a nodule times the Brock model's probability of cancer. The nodules are ranked by it.

    Unit: 1
    Source: McWilliams 2013 (NEJM 369:910), see `brock.add_cancer_probability`
    """
    return nodule["cancer_probability"]


@ranked_feature(absent=1.0)
def sphericity(nodule: RankedNodule) -> float:
    """Surface area of the ball of the same volume divided by that of the nodule; 1 for a ball.

    Unit: 1
    Source: Wadell 1935 (J Geol 43:250)
    """
    return nodule["sphericity"]


@ranked_feature(absent=-1000.0)
def mean_hu(nodule: RankedNodule) -> float:
    """Mean HU of the outlined voxels.

    Unit: HU
    Source: mean over the outlined voxels
    """
    return nodule["mean_hu"]


@ranked_feature(absent=0.0)
def sd_hu(nodule: RankedNodule) -> float:
    """Standard deviation of the HU of the outlined voxels.

    Unit: HU
    Source: standard deviation over the outlined voxels
    """
    return nodule["sd_hu"]


@ranked_feature(absent=0.0)
def solid_share(nodule: RankedNodule) -> float:
    """Share of the outlined voxels above -300 HU.

    Unit: 1
    Source: Scholten 2015 (Eur Radiol 25:488) for the threshold
    """
    return nodule["solid_share"]


@ranked_feature(absent=0.0)
def spiculation(nodule: RankedNodule) -> float:
    """Excess of bright over dark voxels in the shell 2 to 5 mm around the nodule, relative to its contrast.

    Unit: 1
    Source: Hansell 2008 (Radiology 246:697) for the sign; own measure, see `shape.spiculation`
    """
    return nodule["spiculation"]


@ranked_feature(absent=0.5)
def relative_height(nodule: RankedNodule) -> float:
    """Height between the lowest (0) and highest (1) slice of the lungs.

    Unit: 1
    Source: McWilliams 2013 (NEJM 369:910): nodules in the upper lobes are more often cancers
    """
    return nodule["relative_height"]


@ranked_feature(absent=0.0)
def upper_lobe(nodule: RankedNodule) -> float:
    """Degree to which the nodule lies above the mean position of the fissures, 0 to 1.

    Unit: 1
    Source: Gray's Anatomy for the fissures, see `brock.upper_lobe`
    """
    return nodule["upper_lobe"]


@ranked_feature(absent=0.0)
def pleura_mm(nodule: RankedNodule) -> float:
    """Smallest distance of the nodule to the lung surface; 0 if it touches the surface or extends beyond it.

    Unit: mm
    Source: lung mask, see `LungFrame.pleura_mm`
    """
    return nodule["pleura_mm"]


@ranked_feature(absent=0.0)
def side(nodule: RankedNodule) -> float:
    """Lung that contains most of the nodule: -1 right, 1 left, 0 neither.

    Unit: 1
    Source: lung mask
    """
    return float(nodule["lung"] == LEFT) - float(nodule["lung"] == RIGHT)
