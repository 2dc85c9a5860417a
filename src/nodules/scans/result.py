"""What a reader gives back: the volume, and all there is to say about how it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, Gt, Interval

from nodules.imaging.geometry.volume import Volume


@dataclass(frozen=True)
class ReadingParams:
    """The section `reading` of params.yaml: what is repaired, what is refused and what is only said.

    Attributes
    ----------
    max_gap_mm : float
        Missing or unevenly spaced slices are resampled on an even grid while no two neighbours lie farther apart than
        this; beyond it the scan is refused. 0 refuses every unevenness.
    max_tilt_degrees : float
        A gantry tilted by up to this much is straightened; more is refused.
    max_thickness_mm : float
        Slices that are thicker, or lie farther apart, are a warning.
    """

    max_gap_mm: Annotated[float, Ge(0)]
    max_tilt_degrees: Annotated[float, Interval(ge=0, lt=90)]
    max_thickness_mm: Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Reading:
    """A scan as it was read.

    Attributes
    ----------
    volume : Volume
        int16 HU on canonical axes, padding as air.
    kind : str
        DICOM, MetaImage, NIfTI or NRRD.
    series_uid : str or None
        Of a DICOM scan.
    thickness_mm : float or None
        Slice thickness as the header states it; the distance of the slices is the volume's spacing.
    other_series : mapping of str to int
        CT series beside the one that was read: UID to number of slices.
    left_out : mapping of str to int
        Reason to number of files that were no CT slice.
    repairs : tuple of str
        What was changed to make a regular grid in HU.
    warnings : tuple of str
        What was read as it is, though it may mislead.
    """

    volume: Volume
    kind: str
    series_uid: str | None = None
    thickness_mm: float | None = None
    other_series: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
