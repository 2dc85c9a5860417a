"""What is drawn for one patient before any image: parameters, independent random streams, nodules, risk, label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import annotated_types as bound
import numpy as np

from nodules.scans.phantom.nodules import Nodule, draw_nodules
from nodules.scans.phantom.risk import patient_probability

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
