"""Are the values of a scan Hounsfield units? If they lie 1000 or 1024 too high they can be mended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

USUAL_OFFSETS = (1000, 1024)
"""What is added to HU to store them unsigned: scanners use 1024 (RescaleIntercept -1024), programs also 1000."""

_SAMPLES = 2**20
_AIR = (0, 100)  # stored values of air that lies one of `USUAL_OFFSETS` too high, with its noise
_TISSUE = (880, 1180)  # the same for fat (-120 HU) to contrast-filled vessels
_AIR_SHARE, _TISSUE_SHARE = 0.05, 0.10
_STRAY_SHARE = 0.001
_MANY_VALUES = 64  # a picture or a scan with noise has more distinct values, a mask or a drawn phantom fewer
_LUNG_TOP_HU = -600.0
_NORMALISED = 16.0
_LARGEST = 32767.0  # metal on the extended scale of 16-bit scanners reaches 30,710 HU


@dataclass(frozen=True)
class RangeFinding:
    """What the values of a scan say about their scale.

    Attributes
    ----------
    offset_hu : int
        To be subtracted from every value: 0, 1000 or 1024.
    repair, warning, refusal : str or None
        Words for a person: the offset, a doubt, or why these values can be no HU. At most one is not None.
    """

    offset_hu: int = 0
    repair: str | None = None
    warning: str | None = None
    refusal: str | None = None


def examine_range(stored_zyx: NDArray[Any]) -> RangeFinding:
    """Judge the values of a scan as they were stored, before any clipping.

    Refused, because no shift can mend them:

    - 8-bit types, and values of any type that look like an 8-bit picture (from 0, at least 1 % of them exactly 0, to
      255; or to 200 and more with more than 64 distinct values): a window was applied;
    - fractions within -16..16: scaled to 0..1, -1..1 or to unit variance; the noise of a CT alone is wider;
    - values above 32,767.

    Shifted: with the lowest value left out if it is negative (padding), nothing is negative, at least 5 % lie in
    0..100 (air) and at least 10 % in 880..1180 (fat to contrast). In HU such a scan would have neither air nor fat
    and be one tenth dense bone. The offset is 1000 where the commonest value above 0 in 0..100 is below 6, because
    noise about an air of 0 falls off from 0; else it is 1024, as of scanners.

    Warned of: no value below 0 but some above 900, without those two peaks, or half of them exactly 0; and a tenth of
    all values on a lowest one above -600, as if clipped there.

    Limits: 1000 and 1024 may be confused (24 HU) where air is calibrated badly; a crop without air outside the body is
    only warned of; a small crop of soft tissue or one constant value passes without a word, and so does any scan
    whose lowest values are those of air, even if it was clipped above.

    Parameters
    ----------
    stored_zyx : ndarray
        Numbers, of any shape with at least one element and any real type; without NaN.

    Returns
    -------
    RangeFinding
        What to subtract and what to say; empty where the values may be HU.
    """
    low, high = float(stored_zyx.min()), float(stored_zyx.max())
    if stored_zyx.dtype.itemsize == 1:
        return RangeFinding(refusal=f"8-bit values {low:g}..{high:g} are a picture or a mask, not HU; {_REMEDY}")
    if low == high:
        return RangeFinding()
    sample = _sample(stored_zyx)
    refusal = _no_hu(sample, low, high)
    if refusal:
        return RangeFinding(refusal=refusal)
    offset_hu = _offset(sample, low)
    if offset_hu:
        return RangeFinding(
            offset_hu, repair=f"values lay {offset_hu} above HU (air near 0, soft tissue near 1000): subtracted"
        )
    return RangeFinding(warning=_doubt(sample, low, high))


_REMEDY = "export the scan in Hounsfield units"


def _sample(stored_zyx: NDArray[Any]) -> NDArray[Any]:
    """All values, or a million drawn at random: steps of a fixed width would follow the columns of the image."""
    flat = stored_zyx.reshape(-1)
    if flat.size <= _SAMPLES:
        return flat
    return flat[np.random.default_rng(0).integers(0, flat.size, _SAMPLES)]


def _no_hu(sample: NDArray[Any], low: float, high: float) -> str | None:
    if high > _LARGEST:
        return f"values reach {high:g}, far above any HU; {_REMEDY}"
    if (
        low == 0
        and np.mean(sample == 0) >= 0.01
        and (high == 255 or (200 <= high < 255 and np.unique(sample).size > _MANY_VALUES))
    ):
        return f"values {low:g}..{high:g} are a windowed 8-bit picture, not HU; {_REMEDY}"
    has_fractions = bool((sample != np.rint(sample)).any())
    if has_fractions and max(abs(low), abs(high)) <= _NORMALISED:
        return f"values {low:.3g}..{high:.3g} were scaled for a network and are not HU; {_REMEDY}"
    return None


def _offset(sample: NDArray[Any], low: float) -> int:
    measured = sample[sample > low] if low < 0 else sample
    if not measured.size or np.unique(measured).size <= _MANY_VALUES or np.mean(measured < 0) > _STRAY_SHARE:
        return 0
    air = measured[(measured >= _AIR[0]) & (measured <= _AIR[1])]
    tissue_count = np.count_nonzero((measured >= _TISSUE[0]) & (measured <= _TISSUE[1]))
    if air.size < _AIR_SHARE * measured.size or tissue_count < _TISSUE_SHARE * measured.size:
        return 0
    counts = np.bincount(np.rint(air).astype(int), minlength=_AIR[1] + 1)[1:]
    width = np.ones(9)
    smooth = np.convolve(counts, width, mode="same") / np.convolve(np.ones(counts.size), width, mode="same")
    commonest = 1 + int(smooth.argmax())
    return USUAL_OFFSETS[0] if commonest < 6 else USUAL_OFFSETS[1]


def _doubt(sample: NDArray[Any], low: float, high: float) -> str | None:
    if low >= 0 and high >= 900:
        return f"no value of {low:g}..{high:g} is below 0 HU, as air and fat would be: perhaps these are not HU"
    if low == 0 and np.mean(sample == 0) >= 0.5:
        return f"most values of {low:g}..{high:g} are exactly 0, as in a mask: perhaps these are not HU"
    if low > _LUNG_TOP_HU and np.mean(sample == low) >= 0.1 and np.unique(sample).size > _MANY_VALUES:
        return f"clipped at {low:g} HU: air and lung cannot be told from fat and water"
    return None
