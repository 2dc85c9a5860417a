"""Quality check of a lung mask: volume, symmetry, connected parts, density and contact with the image edge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodules.imaging.geometry.volume import Volume
from nodules.imaging.lungs.sides import LEFT, RIGHT

LungVerdict = Literal[
    "no_lungs",
    "odd_density",
    "touches_border",
    "too_large",
    "too_small",
    "one_lung",
    "asymmetric",
    "in_pieces",
    "ok",
]
"""Verdicts on a lung mask, worst first."""
SEVERITY: tuple[LungVerdict, ...] = get_args(LungVerdict)

COARSE_MM = 3.0  # parts and density are measured on a subsample of voxels about this far apart
END_SHARE = 0.02  # of the largest section; a smaller section in the first or last slice is a tip, not a cut-off lung
SIDES_MM = 80.0  # at the apex or base, a stack lower than this may show only one lung, or a lung in pieces

# Volume of both lungs of an adult, from the GLI 2021 reference values (Hall et al., Eur Respir J 57: 2000289).
# Lower limit: the residual volume of a woman of 1.50 m and 25 years is 0.9 l, plus tissue and blood.
# Upper limit: the upper limit of normal of the total lung capacity of a man of 2.00 m and 60 years is 11.6 l.
LITRES = (1.0, 12.0)
ONE_LUNG_RATIO = 0.05  # below this volume ratio of the smaller to the larger lung, the smaller one is missing
MIN_RATIO = 0.35  # healthy lungs: about 0.85; after a lobectomy: about 0.5; a partly segmented lung: less
MIN_MAIN_SHARE = 0.9  # share of the lungs that lies in the largest part of each side
# Median HU of the mask: about -850 in healthy lung, above -970 in severe emphysema, below -300 in oedema and fibrosis.
MEDIAN_HU = (-970.0, -300.0)
MAX_BORDER_SHARE = 0.01  # of the image edge, in the slices that show lungs


@dataclass(frozen=True)
class LungQuality:
    """Measures of a lung mask and the verdict based on them.

    Attributes
    ----------
    verdict : str
        "ok", or the worst problem found: "no_lungs", "odd_density", "touches_border", "too_large", "too_small",
        "one_lung", "asymmetric", "in_pieces".
    right_l, left_l : float
        Volume of each lung within the scan, in litres.
    symmetry : float
        Smaller lung as a share of the larger one, 0 to 1; NaN without lungs.
    parts : int
        Number of connected components of both lungs that make up at least 1 % of their lung.
    main_share : float
        Share of the lungs that lies in the largest component of each lung; NaN without lungs.
    median_hu : float
        Median HU of the voxels in the mask; NaN without lungs.
    border_share : float
        Share of the image edge that is lung, in the slices that show lungs.
    whole : bool
        Whether the scan contains the lungs from apex to base. Only whole lungs can be "too_small", because the volume
        of a part of the thorax says little.
    findings : tuple of str
        Problems found, in words, worst first; empty if the verdict is "ok".
    """

    verdict: LungVerdict
    right_l: float
    left_l: float
    symmetry: float
    parts: int
    main_share: float
    median_hu: float
    border_share: float
    whole: bool
    findings: tuple[str, ...]

    @property
    def severity(self) -> int:
        """Severity of the verdict: 0 for "ok", larger for worse verdicts."""
        return len(SEVERITY) - 1 - SEVERITY.index(self.verdict)


def assess_lungs(volume: Volume, labels_zyx: NDArray[np.uint8]) -> LungQuality:
    """Measure a lung mask and report implausible values.

    Parameters
    ----------
    volume : Volume
        HU.
    labels_zyx : (Z, Y, X) ndarray of uint8
        1 right lung, 2 left lung, on the grid of the volume.

    Returns
    -------
    LungQuality

    Raises
    ------
    ValueError
        If the labels and the volume differ in shape.
    """
    if labels_zyx.shape != volume.shape_zyx:
        raise ValueError(f"labels_zyx: expected the shape of the volume {volume.shape_zyx}, got {labels_zyx.shape}")
    litres = volume.voxel_mm3 / 1e6
    right_l, left_l = (float(np.count_nonzero(labels_zyx == side) * litres) for side in (RIGHT, LEFT))
    if not right_l + left_l:
        nan = float("nan")
        return LungQuality("no_lungs", 0.0, 0.0, nan, 0, nan, nan, 0.0, False, ("no lungs were found",))
    sections = np.array([np.count_nonzero(plane) for plane in labels_zyx])
    every = tuple(slice(None, None, max(1, int(COARSE_MM / mm))) for mm in volume.spacing_zyx_mm)
    coarse = labels_zyx[every]
    if not coarse.any():
        every, coarse = (slice(None),) * 3, labels_zyx
    parts, main_share = _parts(coarse)
    measures: dict[str, Any] = {
        "right_l": right_l,
        "left_l": left_l,
        "symmetry": min(right_l, left_l) / max(right_l, left_l),
        "parts": parts,
        "main_share": main_share,
        "median_hu": float(np.median(volume.voxels_zyx[every][coarse > 0])),
        "border_share": _border_share(labels_zyx[sections > 0]),
        "whole": bool(max(sections[0], sections[-1]) <= END_SHARE * sections.max()),
    }
    height_mm = float(np.ptp(np.flatnonzero(sections)) + 1) * volume.spacing_zyx_mm[0]
    found = dict(_findings(LungQuality(verdict="ok", findings=(), **measures), height_mm))
    verdicts = sorted(found, key=SEVERITY.index)
    return LungQuality(
        verdict=verdicts[0] if verdicts else "ok", findings=tuple(found[name] for name in verdicts), **measures
    )


def _findings(measured: LungQuality, height_mm: float) -> Iterator[tuple[LungVerdict, str]]:
    """Problem and description of each measure outside its limits."""
    total_l = measured.right_l + measured.left_l
    if not MEDIAN_HU[0] <= measured.median_hu <= MEDIAN_HU[1]:
        yield "odd_density", f"the lungs have a median of {measured.median_hu:.0f} HU; {_range(MEDIAN_HU)} is usual"
    if measured.border_share > MAX_BORDER_SHARE:
        yield "touches_border", f"lung lies along {measured.border_share:.1%} of the edge of the image: cut or leaked"
    if total_l > LITRES[1]:
        yield "too_large", f"the lungs measure {total_l:.1f} l; more than {LITRES[1]:g} l is no lung"
    if measured.whole and total_l < LITRES[0]:
        yield "too_small", f"the lungs measure {total_l:.2f} l; an adult's hold at least {LITRES[0]:g} l"
    if measured.whole or height_mm >= SIDES_MM:
        yield from _findings_of_sides(measured)


def _findings_of_sides(measured: LungQuality) -> Iterator[tuple[LungVerdict, str]]:
    smaller = "left" if measured.left_l < measured.right_l else "right"
    if measured.symmetry < ONE_LUNG_RATIO:
        yield "one_lung", f"no {smaller} lung was found"
    elif measured.symmetry < MIN_RATIO:
        yield "asymmetric", f"the {smaller} lung measures only {measured.symmetry:.0%} of the other one"
    if measured.main_share < MIN_MAIN_SHARE:
        yield (
            "in_pieces",
            f"the lungs are in {measured.parts} pieces; {1 - measured.main_share:.0%} lie off the main ones",
        )


def _parts(labels_zyx: NDArray[np.uint8]) -> tuple[int, float]:
    """Number of connected components of both lungs, and share of the lungs in the largest component of each."""
    count, main = 0, 0
    for side in (RIGHT, LEFT):
        sizes = np.bincount(ndimage.label(labels_zyx == side, np.ones((3, 3, 3)))[0].ravel())[1:]
        count += int((sizes >= max(1.0, 0.01 * sizes.sum())).sum())
        main += int(sizes.max(initial=0))
    return count, main / int(np.count_nonzero(labels_zyx))


def _border_share(labels_zyx: NDArray[np.uint8]) -> float:
    edge = np.ones(labels_zyx.shape[1:], dtype=bool)
    edge[1:-1, 1:-1] = False
    return float((labels_zyx[:, edge] > 0).mean())


def _range(limits: tuple[float, float]) -> str:
    return f"{limits[0]:.0f} to {limits[1]:.0f}"
