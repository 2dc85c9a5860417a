"""What is drawn for one patient before any image: parameters, independent random streams, nodules, risk, label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import annotated_types as bound
import numpy as np

from nodules.imaging.features import brock
from nodules.scans.phantom.nodules import Nodule, draw_nodules

KINDS = {"solid": 0.0, "part_solid": brock.PART_SOLID, "ground_glass": brock.GROUND_GLASS}

# In place of the published intercept (`brock.INTERCEPT`), which stands for a screening population with about 5% cancer.
# This one was found once by bisection on 20,000 patients drawn with diameters 4-30 mm and 10% nodule-free patients, so
# that 25% have cancer.
INTERCEPT = -5.50
BASE_RISK = 0.01  # patient without any nodule


def nodule_probability(nodule: Nodule, *, count: int, emphysema: bool) -> float:
    """Probability that this nodule is a cancer, given the number of nodules and emphysema of its patient.

    Brock's model, but for the intercept. Age, sex and history are left out: a phantom has none.
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
    """Probability that at least one nodule is a cancer; `BASE_RISK` without nodules."""
    if not nodules:
        return BASE_RISK
    return 1 - math.prod(1 - nodule_probability(n, count=len(nodules), emphysema=emphysema) for n in nodules)


Layout = Literal["luna", "dsb"]
LAYOUT_CODES: dict[Layout, int] = {"luna": 1, "dsb": 2}
STREAMS = ("table", "anatomy", "placement", "vessels", "texture", "scanner", "identity", "candidates")
EMPHYSEMA_SHARE = 0.3


@dataclass(frozen=True)
class PhantomParams:
    """Size and variety of the synthetic cohort; pairs are the bounds of a range.

    `luna_extra_nodules` gives patients of the LUNA16 layout up to so many nodules more than those of the DSB layout:
    detection learns from nodules, and a scan costs the same whatever their number.
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
                raise ValueError(f"phantom {name} must be two numbers with 0 < low <= high, got {low} and {high}")


@dataclass(frozen=True)
class Truth:
    """Everything known about one patient; nodules have positions only after rendering.

    Attributes
    ----------
    layout : {"luna", "dsb"}
        Which cohort the patient belongs to.
    index : int
        Number in that cohort.
    nodules : tuple of Nodule
        Largest first.
    emphysema : bool
        Whether the lungs are emphysematous.
    true_probability : float
        Probability from which `cancer` was drawn.
    cancer : int
        The label, 0 or 1.
    """

    layout: Layout
    index: int
    nodules: tuple[Nodule, ...]
    emphysema: bool
    true_probability: float
    cancer: int


def stream(name: str, index: int, layout: Layout, params: PhantomParams) -> np.random.Generator:
    """Random stream of one purpose of one patient, independent of every other purpose and patient."""
    entropy = [params.seed, LAYOUT_CODES[layout], index, STREAMS.index(name)]
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))


def draw_truth(index: int, layout: Layout, params: PhantomParams) -> Truth:
    """Draw nodules, emphysema, risk and label of one patient: what a cohort of labels needs, without any image."""
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
