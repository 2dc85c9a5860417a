"""Draw the true nodules of a patient: size, type, shape, attachment and lobe, without rendering an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KINDS = ("solid", "part_solid", "ground_glass")
SHAPES = ("round", "lobulated", "spiculated")
ATTACHMENTS = ("isolated", "vessel", "pleura")
LOBES = ("right_upper", "right_middle", "right_lower", "left_upper", "left_lower")
UPPER_LOBES = ("right_upper", "left_upper")
COUNT_SHARES = (0.40, 0.28, 0.19, 0.13)  # of 1, 2, 3 and 4 nodules in a patient with nodules

# Two kinds of patients: most have small incidental nodules; some have one large index nodule that looks like a cancer.
# The distance between the two kinds makes the labels predictable; the coefficients of the risk model are unchanged.
SUSPICIOUS_SHARE = 0.30
INCIDENTAL_MEDIAN_MM, INCIDENTAL_SPREAD = 6.6, 0.30
INDEX_MEDIAN_MM, INDEX_SPREAD = 20.0, 0.25


@dataclass(frozen=True)
class Nodule:
    """One true nodule.

    Attributes
    ----------
    diameter_mm : float
        Diameter of the sphere with the same volume.
    kind, shape, attachment, lobe : str
        One of `KINDS`, `SHAPES`, `ATTACHMENTS`, `LOBES`.
    centre_world_xyz : tuple of float or None
        World position in mm; None until the nodule is placed in a rendered chest.
    """

    diameter_mm: float
    kind: str
    shape: str
    attachment: str
    lobe: str
    centre_world_xyz: tuple[float, float, float] | None = None

    @property
    def upper_lobe(self) -> bool:
        """Whether the nodule lies in the right or left upper lobe."""
        return self.lobe in UPPER_LOBES


def draw_nodules(
    rng: np.random.Generator, *, diameter_range_mm: tuple[float, float], nodule_free_share: float, extra: int = 0
) -> tuple[Nodule, ...]:
    """Draw all nodules of one patient, the largest first.

    Parameters
    ----------
    rng : Generator
        The patient's random stream for tables.
    diameter_range_mm : tuple of float
        Smallest and largest diameter; diameters outside are clipped.
    nodule_free_share : float
        Probability that the patient has no nodule.
    extra : int
        Largest number of additional nodules for a patient with nodules.

    Returns
    -------
    tuple of Nodule
        Without positions; empty for a nodule-free patient.
    """
    if rng.random() < nodule_free_share:
        return ()
    count = 1 + int(rng.choice(len(COUNT_SHARES), p=COUNT_SHARES))
    if extra:
        count += int(rng.integers(extra + 1))
    suspicious = rng.random() < SUSPICIOUS_SHARE
    found = [_draw_nodule(rng, suspicious and i == 0, diameter_range_mm) for i in range(count)]
    return tuple(sorted(found, key=lambda nodule: -nodule.diameter_mm))


def _draw_nodule(rng: np.random.Generator, index_nodule: bool, range_mm: tuple[float, float]) -> Nodule:
    median_mm, spread = (INDEX_MEDIAN_MM, INDEX_SPREAD) if index_nodule else (INCIDENTAL_MEDIAN_MM, INCIDENTAL_SPREAD)
    diameter_mm = float(np.clip(median_mm * np.exp(spread * rng.standard_normal()), *range_mm))
    kind_shares = (0.66, 0.26, 0.08) if index_nodule else (0.80, 0.08, 0.12)
    shape_shares = (0.06, 0.26, 0.68) if index_nodule else (0.58, 0.34, 0.08)
    lobe_shares = (0.36, 0.05, 0.17, 0.28, 0.14) if index_nodule else (0.24, 0.11, 0.25, 0.19, 0.21)
    return Nodule(
        diameter_mm=round(diameter_mm, 3),
        kind=str(rng.choice(KINDS, p=kind_shares)),
        shape=str(rng.choice(SHAPES, p=shape_shares)),
        attachment=str(rng.choice(ATTACHMENTS, p=(0.45, 0.27, 0.28))),
        lobe=str(rng.choice(LOBES, p=lobe_shares)),
    )
