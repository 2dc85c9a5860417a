"""Is a Data Science Bowl 2017 folder whole, and do its labels fit its patients? Looks at names only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nodules.scans.scan_error import ScanError
from nodules.scans.tables.dsb import LABELS, SOLUTION, patient_folders, read_all_labels, read_labels, repeated_lines
from nodules.scans.tables.findings import Findings, named

PUBLISHED_PATIENTS = 1595
PUBLISHED_LABELS = 1397
PUBLISHED_SOLUTION = 198
"""Of stage 1 of the Data Science Bowl 2017: the patients, those with a label at once, and those with one later."""


def survey_dsb(dsb_root: Path) -> Findings:
    """Hold the patients' folders against the labels and against what was published.

    Parameters
    ----------
    dsb_root : Path
        Folder with one folder a patient, stage1_labels.csv and perhaps stage1_solution.csv.

    Returns
    -------
    Findings
        Counts `patients`, `labels` (in the tables), `patients_with_label`.

    Raises
    ------
    ScanError
        If there are no folders or no table, the table cannot be used, or no folder has a label.
    """
    folders = patient_folders(dsb_root)
    labels = read_all_labels(dsb_root)
    labelled = [patient for patient in folders if patient in labels.index]
    if not labelled:
        raise ScanError(
            f"{dsb_root / LABELS}: none of its {len(labels)} patients is among the {len(folders)} folders (the first: "
            f"{next(iter(folders))}); the folders must lie beside it and be called as its ids"
        )
    counts = {"patients": len(folders), "labels": len(labels), "patients_with_label": len(labelled)}
    missing = [str(patient) for patient in labels.index if patient not in folders]
    return Findings(
        counts,
        notes=_compare_with_published(dsb_root, counts),
        warnings=(*_warn_of_lines(dsb_root), *_warn_of_missing(missing), *_warn_of_empty(folders)),
    )


def _compare_with_published(dsb_root: Path, counts: Mapping[str, int]) -> tuple[str, ...]:
    unlabelled = counts["patients"] - counts["patients_with_label"]
    notes = [f"{unlabelled} patients have no label: they are not used to train"] if unlabelled else []
    rows = len(read_labels(dsb_root / LABELS))
    more = len(read_labels(dsb_root / SOLUTION)) if (dsb_root / SOLUTION).is_file() else 0
    if rows != PUBLISHED_LABELS or more not in (0, PUBLISHED_SOLUTION):
        return (
            f"the labels are not the published ones of DSB 2017: {rows} in {LABELS} and {more} in {SOLUTION}, "
            f"published are {PUBLISHED_LABELS} and {PUBLISHED_SOLUTION}",
            *notes,
        )
    whole = "DSB 2017 is complete" if counts["patients"] == PUBLISHED_PATIENTS else "a part of DSB 2017"
    return (f"{whole}: {counts['patients']} of {PUBLISHED_PATIENTS} patients, {rows} + {more} labels", *notes)


def _warn_of_lines(dsb_root: Path) -> list[str]:
    warnings = []
    for name in (LABELS, SOLUTION):
        lines = [str(line) for line in repeated_lines(dsb_root / name)] if (dsb_root / name).is_file() else []
        if lines:
            warnings.append(f"{name} repeats {named(lines, 'line', 'lines')}: dropped")
    return warnings


def _warn_of_missing(patients: list[str]) -> list[str]:
    return [f"{named(patients, 'label', 'labels')} without a folder: not used"] if patients else []


def _warn_of_empty(folders: Mapping[str, Path]) -> list[str]:
    empty = [patient for patient, folder in folders.items() if not any(folder.iterdir())]
    return [f"{named(empty, 'patient folder', 'patient folders')} empty: no scan to read"] if empty else []
