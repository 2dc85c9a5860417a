"""Random draw of a synthetic patient before rendering: nodules, emphysema, cancer probability and label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import annotated_types as bound
import numpy as np

from nodules.imaging.features import brock
from nodules.scans.phantom.nodules import Nodule, draw_nodules

Layout = Literal["luna", "dsb"]
LAYOUT_CODES: dict[Layout, int] = {"luna": 1, "dsb": 2}  # part of the seed of each random stream
STREAMS = ("table", "anatomy", "placement", "vessels", "texture", "scanner", "identity", "candidates")

EMPHYSEMA_SHARE = 0.3  # of patients
# Coefficient of each kind of nodule in Brock's model.
KINDS = {"solid": 0.0, "part_solid": brock.PART_SOLID, "ground_glass": brock.GROUND_GLASS}

# This intercept replaces the published one (`brock.INTERCEPT`), which describes a screening population with about 5%
# cancer. With this one, 25% of patients have cancer. It was found by bisection on 20,000 simulated patients with
# diameters of 4-30 mm, 10% of them without nodules.
INTERCEPT = -5.50
BASE_RISK = 0.01  # probability of cancer of a patient without nodules


def nodule_probability(nodule: Nodule, *, count: int, emphysema: bool) -> float:
    """Probability that a nodule is a cancer, given its patient's number of nodules and emphysema.

    This is Brock's model with another intercept (`INTERCEPT`). It omits age, sex and history, which phantoms lack.
    """
    log_odds = (
        INTERCEPT
        + brock.SIZE * ((nodule.diameter_mm / 10) ** -0.5 - brock.SIZE_CENTRE)
        + KINDS[nodule.kind]
        + brock.UPPER_LOBE * nodule.upper_lobe
        + brock.COUNT * (count - brock.COUNT_CENTRE)
        + brock.SPICULATED * (nodule.shape == "spiculated")
        + brock.EMPHYSEMA * emphysema
    )
    return 1 / (1 + math.exp(-log_odds))


def patient_probability(nodules: Sequence[Nodule], *, emphysema: bool) -> float:
    """Probability that at least one nodule is a cancer, or `BASE_RISK` if there are no nodules."""
    if not nodules:
        return BASE_RISK
    return 1 - math.prod(1 - nodule_probability(n, count=len(nodules), emphysema=emphysema) for n in nodules)


@dataclass(frozen=True)
class PhantomParams:
    """Size and variety of the synthetic cohort; each pair holds the lower and upper bound of a range.

    Patients of the LUNA16 layout get up to `luna_extra_nodules` more nodules than patients of the DSB layout. This
    gives detection more training examples, and a scan takes the same time to render with any number of nodules.
    """

    seed: Annotated[int, bound.Ge(0)]
    grid_px: Annotated[int, bound.Ge(32)]
    pixel_spacing_mm: tuple[float, float]
    slice_thickness_mm: tuple[float, float]
    luna_scans: Annotated[int, bound.Ge(0)]
    luna_subsets: Annotated[int, bound.Ge(1)]
    luna_extra_nodules: Annotated[int, bound.Ge(0)]
    dsb_patients: Annotated[int, bound.Ge(0)]
    nodule_diameter_mm: tuple[float, float]
    nodule_free_share: Annotated[float, bound.Ge(0), bound.Le(1)]
    noise_hu: tuple[float, float]
    padded_share: Annotated[float, bound.Ge(0), bound.Le(1)]

    def __post_init__(self) -> None:
        for name in ("pixel_spacing_mm", "slice_thickness_mm", "nodule_diameter_mm", "noise_hu"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name}: expected two numbers with 0 < low <= high, got {low} and {high}")


@dataclass(frozen=True)
class Truth:
    """Ground truth of one synthetic patient; rendering assigns the positions of the nodules later.

    Attributes
    ----------
    layout : {"luna", "dsb"}
        Cohort of the patient.
    index : int
        Index of the patient in that cohort.
    nodules : tuple of Nodule
        Largest first.
    emphysema : bool
        Whether the lungs are emphysematous.
    true_probability : float
        Probability of cancer, from which `cancer` was drawn.
    cancer : int
        Label, 0 or 1.
    """

    layout: Layout
    index: int
    nodules: tuple[Nodule, ...]
    emphysema: bool
    true_probability: float
    cancer: int


def stream(name: str, index: int, layout: Layout, params: PhantomParams) -> np.random.Generator:
    """Random generator for one purpose (`STREAMS`) and one patient, independent of all others."""
    entropy = [params.seed, LAYOUT_CODES[layout], index, STREAMS.index(name)]
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))


def draw_truth(index: int, layout: Layout, params: PhantomParams) -> Truth:
    """Draw nodules, emphysema, cancer probability and label of one patient, without rendering an image."""
    rng = stream("table", index, layout, params)
    emphysema = bool(rng.random() < EMPHYSEMA_SHARE)
    nodules = draw_nodules(
        rng,
        diameter_range_mm=params.nodule_diameter_mm,
        nodule_free_share=params.nodule_free_share,
        extra=params.luna_extra_nodules if layout == "luna" else 0,
    )
    probability = patient_probability(nodules, emphysema=emphysema)
    return Truth(layout, index, nodules, emphysema, probability, int(rng.random() < probability))
