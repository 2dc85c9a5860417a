"""What reading a scan results in: the scan (`Reading`), its verdict (`Verdict`), or an error (`ScanError`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval

from nodules.imaging.geometry.volume import Volume

ROUNDING_MM = 1e-3
"""Tolerance for comparing the slice thickness with its limit."""

Status = Literal["ok", "usable", "unusable"]


class ScanError(ValueError):
    """A scan, mask or table that cannot be used; the message names the file, the problem and the remedy."""

    verdict: Literal["unusable"] = "unusable"


@dataclass(frozen=True)
class ReadingParams:
    """The section `reading` of params.yaml: limits for repairs and warnings.

    Attributes
    ----------
    max_gap_mm : float
        Largest distance of neighbouring slices in a scan with missing or unevenly spaced slices. Up to this distance
        the scan is resampled to an even grid; beyond it the scan is refused. 0 refuses every such scan.
    max_tilt_degrees : float
        Largest gantry tilt that is straightened. A larger tilt is refused.
    max_thickness_mm : float
        Slices that are thicker or farther apart give a warning.
    """

    max_gap_mm: Annotated[float, Ge(0)]
    max_tilt_degrees: Annotated[float, Interval(ge=0, lt=90)]
    max_thickness_mm: Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Reading:
    """A scan, and how it was read.

    Attributes
    ----------
    volume : Volume
        int16 HU on canonical axes; padding is set to air.
    kind : str
        File format: DICOM, MetaImage, NIfTI or NRRD.
    series_uid : str or None
        Series UID of a DICOM scan.
    thickness_mm : float or None
        Slice thickness stated in the header; the distance between slices is the volume's spacing.
    other_series : mapping of str to int
        CT series that were not read: UID to number of slices.
    left_out : mapping of str to int
        Files that were left out: reason to number of files.
    repairs : tuple of str
        What was changed to obtain a regular grid in HU.
    warnings : tuple of str
        What was left unchanged but may mislead.
    flipped_xy : tuple of bool, or None
        Whether the columns and the rows of the stored slices were reversed; None if the volume does not keep their
        pixels, because it was resampled in their plane or its axes were swapped.
    """

    volume: Volume
    kind: str
    series_uid: str | None = None
    thickness_mm: float | None = None
    other_series: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    flipped_xy: tuple[bool, bool] | None = (False, False)


@dataclass(frozen=True)
class Verdict:
    """Whether a scan can be used, and the reasons for doubt.

    Attributes
    ----------
    status : {"ok", "usable", "unusable"}
        "ok": read without repairs or warnings; "usable": read with some; "unusable": refused.
    reasons : tuple of str
        The repairs and warnings, or the reason of the refusal; empty if the status is "ok".
    facts : mapping
        JSON-serialisable description of what was read, without patient data; empty for a refused scan.
    """

    status: Status
    reasons: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return status, reasons and facts as JSON-serialisable values."""
        return asdict(self) | {"reasons": list(self.reasons)}

    def as_row(self) -> dict[str, str]:
        """Return the manifest columns `verdict` and `reasons` (all reasons in one cell)."""
        return {"verdict": self.status, "reasons": "; ".join(self.reasons)}


def verdict_of(reading: Reading, params: ReadingParams, findings: Sequence[str] = ()) -> Verdict:
    """Return the verdict on a scan that was read.

    Parameters
    ----------
    reading : Reading
        The scan, as its reader returned it.
    params : ReadingParams
        Gives the limit for the slice thickness.
    findings : sequence of str
        Further warnings that were found after reading, such as those about the lungs.
    """
    reasons = (
        *reading.repairs,
        *reading.warnings,
        *_thickness_warnings(reading, params),
        *_other_series(reading),
        *findings,
    )
    return Verdict("usable" if reasons else "ok", reasons, _facts(reading))


def verdict_of_error(error: ScanError) -> Verdict:
    """Return the verdict on a scan that could not be read."""
    return Verdict(error.verdict, (str(error),))


def _thickness_warnings(reading: Reading, params: ReadingParams) -> list[str]:
    distance_mm = reading.volume.spacing_zyx_mm[0]
    thickest_mm = max(distance_mm, reading.thickness_mm or 0.0)
    if thickest_mm <= params.max_thickness_mm + ROUNDING_MM:
        return []
    return [
        f"slices are {reading.thickness_mm or distance_mm:.2f} mm thick and {distance_mm:.2f} mm apart; above "
        f"{params.max_thickness_mm:g} mm small nodules are easily missed"
    ]


def _other_series(reading: Reading) -> list[str]:
    count = len(reading.other_series)
    return [f"{count} other CT series not read; give a series UID to read another"] if count else []


def _facts(reading: Reading) -> dict[str, Any]:
    volume = reading.volume
    return {
        "kind": reading.kind,
        "series_uid": reading.series_uid,
        "other_series": dict(reading.other_series),
        "left_out": dict(reading.left_out),
        "shape_zyx": list(volume.shape_zyx),
        "spacing_zyx_mm": [round(value, 6) for value in volume.spacing_zyx_mm],
        "origin_xyz_mm": [round(value, 6) for value in volume.origin_xyz_mm],
        "direction_xyz": [round(value, 6) for value in volume.direction_xyz],
        "thickness_mm": reading.thickness_mm,
        "hu_range": [int(volume.voxels_zyx.min()), int(volume.voxels_zyx.max())],
        "repairs": list(reading.repairs),
        "warnings": list(reading.warnings),
    }
