"""Is a LUNA16 folder whole, and does its table fit its scans? Looks at names and headers only."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nodules.scans.result import ScanError
from nodules.scans.tables.dsb import LABELS, SOLUTION, patient_folders, read_all_labels, read_labels, repeated_lines
from nodules.scans.tables.luna import AnnotationTable, read_annotation_table, series_files, series_without_file
from nodules.scans.volume_files.completeness import check_metaimage


@dataclass(frozen=True)
class Findings:
    """Counts and words about a data set that can be used.

    Attributes
    ----------
    counts : mapping of str to int
        How many of what.
    notes : tuple of str
        What is as it may be: a part of the published set, scans without nodules.
    warnings : tuple of str
        What was probably not meant: rows without a scan, scans that are damaged.
    """

    counts: Mapping[str, int]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def named(names: Sequence[str], one: str, many: str) -> str:
    """Say how many there are and what the first is called: "3 scans (1.2.3, ...)"."""
    return f"{len(names)} {one if len(names) == 1 else many} ({names[0]}{', ...' if len(names) > 1 else ''})"


PUBLISHED_SUBSETS = 10
PUBLISHED_SCANS = 888
PUBLISHED_NODULES = 1186
PUBLISHED_ANNOTATED_SCANS = 601
"""Of https://luna16.grand-challenge.org/Data/ and its annotations.csv."""


def survey_luna(luna_root: Path, subsets: Sequence[int]) -> Findings:
    """Hold the scans of the chosen subsets against `annotations.csv` and against what was published.

    Parameters
    ----------
    luna_root : Path
        Folder with annotations.csv and subset0 .. subset9.
    subsets : sequence of int
        The subsets that are used.

    Returns
    -------
    Findings
        Counts `subset0` ..., `scans`, `nodules` (of scans that are there), `scans_without_nodules`.

    Raises
    ------
    ScanError
        If the table cannot be used, a chosen subset is missing or empty, or a series lies in two subsets.
    """
    table = read_annotation_table(luna_root / "annotations.csv")
    _refuse_missing(luna_root, subsets)
    files = {subset: series_files(luna_root, subset) for subset in subsets}
    others = {subset: series_files(luna_root, subset) for subset in sorted(_present(luna_root) - set(subsets))}
    _refuse_twice(luna_root, files | others)
    scans = {uid: file for found in files.values() for uid, file in found.items()}
    used = {uid: nodules for uid, nodules in table.nodules.items() if uid in scans}
    without = len(scans.keys() - used.keys())
    counts = {f"subset{subset}": len(found) for subset, found in files.items()}
    counts |= {"scans": len(scans), "nodules": sum(map(len, used.values())), "scans_without_nodules": without}
    elsewhere = {uid for found in others.values() for uid in found}
    return Findings(
        counts,
        notes=(*_compare_with_published(table, len(scans), subsets), *_note_others(others), *_note_without(without)),
        warnings=(*_warn_of_rows(table, scans, elsewhere), *_warn_of_voxels(scans)),
    )


def _present(luna_root: Path) -> set[int]:
    """Numbers of the subset folders that hold scans; an empty one that nobody chose does no harm."""
    numbered = ((re.fullmatch(r"subset(\d+)", folder.name), folder) for folder in luna_root.iterdir())
    return {int(name.group(1)) for name, folder in numbered if name and any(folder.glob("*.mhd"))}


def _refuse_missing(luna_root: Path, subsets: Sequence[int]) -> None:
    if twice := sorted({subset for subset in subsets if subsets.count(subset) > 1}):
        raise ScanError(f"{luna_root}: subsets {twice} are chosen twice; name each once")
    missing = [f"subset{subset}" for subset in subsets if not (luna_root / f"subset{subset}").is_dir()]
    if missing:
        state = "does not exist" if len(missing) == 1 else "do not exist"
        raise ScanError(
            f"{luna_root}: {', '.join(missing)} {state}; unpack {missing[0]}.zip there, or choose other subsets"
        )


def _refuse_twice(luna_root: Path, files: Mapping[int, Mapping[str, Path]]) -> None:
    homes: dict[str, int] = {}
    for subset, found in files.items():
        for uid in found:
            if homes.setdefault(uid, subset) != subset:
                raise ScanError(
                    f"{luna_root}: series {uid} lies in subset{homes[uid]} and in subset{subset}; keep one of them"
                )


def _compare_with_published(table: AnnotationTable, scans: int, subsets: Sequence[int]) -> list[str]:
    nodules, series = sum(map(len, table.nodules.values())), len(table.nodules)
    if (nodules, series) != (PUBLISHED_NODULES, PUBLISHED_ANNOTATED_SCANS):
        return [
            f"annotations.csv is not the published one of LUNA16: {nodules} nodules in {series} series, published are "
            f"{PUBLISHED_NODULES} in {PUBLISHED_ANNOTATED_SCANS}"
        ]
    if scans == PUBLISHED_SCANS:
        return [f"LUNA16 is complete: {PUBLISHED_SCANS} scans, {PUBLISHED_NODULES} nodules"]
    return [f"a part of LUNA16: {scans} of {PUBLISHED_SCANS} scans, {len(subsets)} of {PUBLISHED_SUBSETS} subsets"]


def _note_others(others: Mapping[int, Collection[str]]) -> list[str]:
    if not others:
        return []
    shown = ", ".join(f"subset{subset} ({len(found)} scans)" for subset, found in others.items())
    return [f"there but not chosen in dataset.subsets: {shown}"]


def _note_without(without: int) -> list[str]:
    return [f"{without} scans have no row in annotations.csv: no nodule was found in them"] if without else []


def _warn_of_rows(table: AnnotationTable, scans: Collection[str], elsewhere: Collection[str]) -> list[str]:
    warnings = []
    if table.repeated_lines:
        lines = [str(line) for line in table.repeated_lines]
        warnings.append(f"annotations.csv repeats {named(lines, 'line', 'lines')}: dropped")
    lost = series_without_file(table.nodules, set(scans) | set(elsewhere))
    if lost:
        nodules = sum(len(table.nodules[uid]) for uid in lost)
        warnings.append(
            f"annotations.csv has {nodules} nodules of {named(lost, 'series', 'series')} without a file in any subset: "
            "they are not used"
        )
    return warnings


def _warn_of_voxels(scans: Mapping[str, Path]) -> list[str]:
    """Read every header, no voxels: 888 files take seconds."""
    broken = []
    for uid, file in scans.items():
        try:
            check_metaimage(file, inflate=False)
        except ScanError as error:
            broken.append((uid, str(error)))
    if not broken:
        return []
    return [f"{named([uid for uid, _ in broken], 'scan', 'scans')} cannot be read, the first because: {broken[0][1]}"]


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
        notes=_compare_with_published_counts(dsb_root, counts),
        warnings=(*_warn_of_lines(dsb_root), *_warn_of_missing(missing), *_warn_of_empty(folders)),
    )


def _compare_with_published_counts(dsb_root: Path, counts: Mapping[str, int]) -> tuple[str, ...]:
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
