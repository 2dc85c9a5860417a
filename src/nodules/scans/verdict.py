"""One verdict on a scan, the same in `nodules check`, in failures.csv, in the report and in the server's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from nodules.scans.result import Reading, ReadingParams
from nodules.scans.scan_error import ScanError

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
