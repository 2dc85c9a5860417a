"""What a reader gives back: the volume, and all there is to say about how it was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval

from nodules.imaging.geometry.volume import Volume


class ScanError(ValueError):
    """A scan, mask or table cannot be used; the message names the file, what was wanted and what to do about it."""

    verdict: Literal["unusable"] = "unusable"


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


ROUNDING_MM = 1e-3

Status = Literal["ok", "usable", "unusable"]


@dataclass(frozen=True)
class Verdict:
    """Whether a scan can be believed.

    Attributes
    ----------
    status : {"ok", "usable", "unusable"}
        Read as it is; read after repairs or with warnings; refused.
    reasons : tuple of str
        Why it is not ok: repairs and warnings, or the refusal.
    facts : mapping
        What was read, JSON-serialisable; empty for a refused scan. Holds nothing of the patient.
    """

    status: Status
    reasons: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-serialisable: status, reasons, facts."""
        return asdict(self) | {"reasons": list(self.reasons)}

    def as_row(self) -> dict[str, str]:
        """The columns of a manifest: verdict, and the reasons in one cell."""
        return {"verdict": self.status, "reasons": "; ".join(self.reasons)}


def judge(reading: Reading, params: ReadingParams, findings: Sequence[str] = ()) -> Verdict:
    """Verdict on a scan that was read.

    Parameters
    ----------
    reading : Reading
        As a reader returned it.
    params : ReadingParams
        For the limit of the slice thickness.
    findings : sequence of str
        Warnings that came after reading, such as those about the lungs.
    """
    reasons = (*reading.repairs, *reading.warnings, *_thick(reading, params), *_others(reading), *findings)
    return Verdict("usable" if reasons else "ok", reasons, _facts(reading))


def refusal(error: ScanError) -> Verdict:
    """Verdict on a scan that could not be read."""
    return Verdict(error.verdict, (str(error),))


def _thick(reading: Reading, params: ReadingParams) -> list[str]:
    distance_mm = reading.volume.spacing_zyx_mm[0]
    thickest_mm = max(distance_mm, reading.thickness_mm or 0.0)
    if thickest_mm <= params.max_thickness_mm + ROUNDING_MM:
        return []
    return [
        f"slices are {reading.thickness_mm or distance_mm:.2f} mm thick and {distance_mm:.2f} mm apart; above "
        f"{params.max_thickness_mm:g} mm small nodules are easily missed"
    ]


def _others(reading: Reading) -> list[str]:
    count = len(reading.other_series)
    return [f"{count} other CT series not read; choose one by its UID"] if count else []


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
