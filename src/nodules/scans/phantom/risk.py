"""True probability of cancer of a patient, in the manner of the Brock (PanCan) model."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nodules.scans.phantom.nodules import Nodule

# Coefficients of the full model with spiculation: McWilliams et al., "Probability of cancer in pulmonary nodules
# detected on first screening CT", N Engl J Med 2013;369:910-919. Age, sex and history are left out: a phantom has none.
SIZE_COEFFICIENT = -5.3854
SIZE_CENTRE = 1.58113883  # (4 mm / 10 mm) ** -0.5
KIND_COEFFICIENTS = {"solid": 0.0, "part_solid": 0.3770, "ground_glass": -0.1276}
UPPER_LOBE_COEFFICIENT = 0.6581
COUNT_COEFFICIENT = -0.0824
COUNT_CENTRE = 4
SPICULATION_COEFFICIENT = 0.7729
EMPHYSEMA_COEFFICIENT = 0.2953

# The published intercept (-6.7892) stands for a screening population with about 5% cancer. This one was found once by
# bisection on 20,000 patients drawn with diameters 4-30 mm and 10% nodule-free patients, so that 25% have cancer.
INTERCEPT = -5.50
BASE_RISK = 0.01  # patient without any nodule


def nodule_probability(nodule: Nodule, *, count: int, emphysema: bool) -> float:
    """Probability that this nodule is a cancer, given the number of nodules and emphysema of its patient."""
    log_odds = (
        INTERCEPT
        + SIZE_COEFFICIENT * ((nodule.diameter_mm / 10) ** -0.5 - SIZE_CENTRE)
        + KIND_COEFFICIENTS[nodule.kind]
        + UPPER_LOBE_COEFFICIENT * nodule.upper_lobe
        + COUNT_COEFFICIENT * (count - COUNT_CENTRE)
        + SPICULATION_COEFFICIENT * (nodule.shape == "spiculated")
        + EMPHYSEMA_COEFFICIENT * emphysema
    )
    return 1 / (1 + math.exp(-log_odds))


def patient_probability(nodules: Sequence[Nodule], *, emphysema: bool) -> float:
    """Probability that at least one nodule is a cancer; `BASE_RISK` without nodules."""
    if not nodules:
        return BASE_RISK
    return 1 - math.prod(1 - nodule_probability(n, count=len(nodules), emphysema=emphysema) for n in nodules)
