"""Check that the values of a scan are Hounsfield units (HU), and detect a constant offset of 1000 or 1024."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

USUAL_OFFSETS = (1000, 1024)
"""Offsets added to HU to store them as unsigned integers.

Scanners add 1024 (RescaleIntercept -1024); some programs add 1000.
"""

_SAMPLES = 2**20
_AIR = (0, 100)  # stored values of air, with its noise, if one of `USUAL_OFFSETS` was added
_TISSUE = (880, 1180)  # the same for tissue, from fat (-120 HU) to contrast-filled vessels
_AIR_SHARE, _TISSUE_SHARE = 0.05, 0.10
_STRAY_SHARE = 0.001
_MANY_VALUES = 64  # pictures and noisy scans have more distinct values; masks and drawn phantoms have fewer
_LUNG_TOP_HU = -600.0
_NORMALISED = 16.0
_LARGEST = 32767.0  # metal on the extended scale of 16-bit scanners reaches 30,710 HU
_REMEDY = "export the scan in Hounsfield units"


@dataclass(frozen=True)
class RangeFinding:
    """Result of the range check of one scan.

    Attributes
    ----------
    offset_hu : int
        Value to subtract from every voxel: 0, 1000 or 1024.
    repair, warning, refusal : str or None
        Message for the user: the offset that was found, a doubt, or why the values cannot be HU. At most one of the
        three is not None.
    """

    offset_hu: int = 0
    repair: str | None = None
    warning: str | None = None
    refusal: str | None = None


def examine_range(stored_zyx: NDArray[Any]) -> RangeFinding:
    """Check the values of a scan as they were stored, before any clipping.

    The values are refused if no shift can turn them into HU:

    - They have an 8-bit type, or they look like an 8-bit picture to which a window was applied. Such a picture has the
      lowest value 0, at least 1 % of its values exactly 0, and the highest value 255 (or 200 to 254 with more than 64
      distinct values).
    - They are fractions within -16..16. Such values were scaled to 0..1, to -1..1 or to unit variance; the noise of a
      CT scan alone spans more.
    - They exceed 32,767.

    An offset is found under three conditions, checked without the lowest value if that is negative (padding): hardly
    any value is negative (at most 0.1 %), at least 5 % lie in 0..100 (air) and at least 10 % in 880..1180 (fat to
    contrast agent). Taken as HU, such a scan would contain neither air nor fat, and a tenth of it would be dense bone.
    The offset is 1000 if the most common value in 1..100 is below 6, because the noise of air at 0 falls off from 0.
    Otherwise it is 1024, the offset of scanners.

    A warning is given in three cases: no value is negative but some reach 900, without the two peaks above; at least
    half of the values are exactly 0 and none is negative; or at least a tenth of the values equal the lowest one, which
    lies above -600 HU, as if they were clipped there.

    The check has limits. It may confuse 1000 and 1024 (24 HU) where air is poorly calibrated. A crop without air
    outside the body only gets a warning. A small crop of soft tissue, a constant volume, and a scan that is clipped at
    its upper end only pass without a warning.

    Parameters
    ----------
    stored_zyx : ndarray
        Values of any real type and any shape, without NaN; at least one.

    Returns
    -------
    RangeFinding
        The offset and the message; empty if the values may be HU.
    """
    low, high = float(stored_zyx.min()), float(stored_zyx.max())
    if stored_zyx.dtype.itemsize == 1:
        return RangeFinding(refusal=f"8-bit values {low:g}..{high:g} are a picture or a mask, not HU; {_REMEDY}")
    if low == high:
        return RangeFinding()
    sample = _sample(stored_zyx)
    refusal = _refusal(sample, low, high)
    if refusal:
        return RangeFinding(refusal=refusal)
    offset_hu = _offset(sample, low)
    if offset_hu:
        return RangeFinding(
            offset_hu, repair=f"values were {offset_hu} above HU (air near 0, soft tissue near 1000); offset subtracted"
        )
    return RangeFinding(warning=_warning(sample, low, high))


def _sample(stored_zyx: NDArray[Any]) -> NDArray[Any]:
    """Return all values, or a million random ones; a fixed stride could coincide with the columns of the image."""
    flat = stored_zyx.reshape(-1)
    if flat.size <= _SAMPLES:
        return flat
    return flat[np.random.default_rng(0).integers(0, flat.size, _SAMPLES)]


def _refusal(sample: NDArray[Any], low: float, high: float) -> str | None:
    if high > _LARGEST:
        return f"values reach {high:g}, far above the range of HU; {_REMEDY}"
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


def _warning(sample: NDArray[Any], low: float, high: float) -> str | None:
    if low >= 0 and high >= 900:
        return f"no value in {low:g}..{high:g} is below 0 HU, as air and fat would be; these values may not be HU"
    if low == 0 and np.mean(sample == 0) >= 0.5:
        return f"most values in {low:g}..{high:g} are exactly 0, as in a mask; these values may not be HU"
    if low > _LUNG_TOP_HU and np.mean(sample == low) >= 0.1 and np.unique(sample).size > _MANY_VALUES:
        return f"clipped at {low:g} HU; air and lung cannot be distinguished from fat and water"
    return None
