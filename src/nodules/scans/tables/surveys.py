"""Survey a LUNA16 or DSB folder: completeness, and agreement of tables and scans, from names and headers only."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nodules.scans.result import ScanError
from nodules.scans.tables.dsb import LABELS, SOLUTION, patient_folders, read_all_labels, read_labels, repeated_lines
from nodules.scans.tables.luna import AnnotationTable, read_annotation_table, series_files, series_without_file
from nodules.scans.volume_files.completeness import check_metaimage

PUBLISHED_SUBSETS = 10
PUBLISHED_SCANS = 888
PUBLISHED_NODULES = 1186
PUBLISHED_ANNOTATED_SCANS = 601
"""Size of LUNA16 by https://luna16.grand-challenge.org/Data/ and its annotations.csv."""

PUBLISHED_PATIENTS = 1595
PUBLISHED_LABELS = 1397
PUBLISHED_SOLUTION = 198
"""Size of stage 1 of DSB: patients, labels published at the start, and labels published later."""


@dataclass(frozen=True)
class DatasetSurvey:
    """Counts and remarks about a usable data set.

    Attributes
    ----------
    counts : mapping of str to int
        Number of items by kind.
    notes : tuple of str
        Remarks that need no action, such as a data set that is a part of the published one.
    warnings : tuple of str
        Remarks on probable mistakes, such as rows without a scan or damaged scans.
    """

    counts: Mapping[str, int]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def survey_luna(luna_root: Path, subsets: Sequence[int]) -> DatasetSurvey:
    """Compare the scans of the chosen subsets with `annotations.csv` and with the published data set.

    Parameters
    ----------
    luna_root : Path
        Folder that holds annotations.csv and subset0 .. subset9.
    subsets : sequence of int
        Numbers of the chosen subsets.

    Returns
    -------
    DatasetSurvey
        Counts `subset0` ..., `scans`, `nodules` (of existing scans), `scans_without_nodules`.

    Raises
    ------
    ScanError
        If the table is unusable, a chosen subset is missing or empty, or a series is in two subsets.
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
    return DatasetSurvey(
        counts,
        notes=(*_compare_with_published(table, len(scans), subsets), *_note_others(others), *_note_without(without)),
        warnings=(*_warn_of_rows(table, scans, elsewhere), *_warn_of_voxels(scans)),
    )


def survey_dsb(dsb_root: Path) -> DatasetSurvey:
    """Compare the patient folders with the labels and with the published data set.

    Parameters
    ----------
    dsb_root : Path
        Folder that holds one folder per patient, stage1_labels.csv and optionally stage1_solution.csv.

    Returns
    -------
    DatasetSurvey
        Counts `patients`, `labels` (in the tables), `patients_with_label`.

    Raises
    ------
    ScanError
        If there are no folders or no table, the table is unusable, or no folder has a label.
    """
    folders = patient_folders(dsb_root)
    labels = read_all_labels(dsb_root)
    labelled = [patient for patient in folders if patient in labels.index]
    if not labelled:
        raise ScanError(
            f"{dsb_root / LABELS}: none of its {len(labels)} patients is among the {len(folders)} folders (the first: "
            f"{next(iter(folders))}); put the patient folders beside it, named by the ids"
        )
    counts = {"patients": len(folders), "labels": len(labels), "patients_with_label": len(labelled)}
    missing = [str(patient) for patient in labels.index if patient not in folders]
    return DatasetSurvey(
        counts,
        notes=_compare_with_published_counts(dsb_root, counts),
        warnings=(*_warn_of_lines(dsb_root), *_warn_of_missing(missing), *_warn_of_empty(folders)),
    )


def _counted(names: Sequence[str], one: str, many: str) -> str:
    """Return the count and the first name, such as "3 scans (1.2.3, ...)"."""
    return f"{len(names)} {one if len(names) == 1 else many} ({names[0]}{', ...' if len(names) > 1 else ''})"


def _present(luna_root: Path) -> set[int]:
    """Return the numbers of the subset folders that hold scans; empty folders are ignored unless chosen."""
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
            f"annotations.csv differs from LUNA16's: {nodules} nodules in {series} series instead of "
            f"{PUBLISHED_NODULES} in {PUBLISHED_ANNOTATED_SCANS}"
        ]
    if scans == PUBLISHED_SCANS:
        return [f"LUNA16 is complete: {PUBLISHED_SCANS} scans, {PUBLISHED_NODULES} nodules"]
    return [f"a part of LUNA16: {scans} of {PUBLISHED_SCANS} scans, {len(subsets)} of {PUBLISHED_SUBSETS} subsets"]


def _note_others(others: Mapping[int, Collection[str]]) -> list[str]:
    if not others:
        return []
    shown = ", ".join(f"subset{subset} ({len(found)} scans)" for subset, found in others.items())
    return [f"not chosen in dataset.subsets: {shown}"]


def _note_without(without: int) -> list[str]:
    return [f"scans without a row in annotations.csv (no nodule was found in them): {without}"] if without else []


def _warn_of_rows(table: AnnotationTable, scans: Collection[str], elsewhere: Collection[str]) -> list[str]:
    warnings = []
    if table.repeated_lines:
        lines = [str(line) for line in table.repeated_lines]
        warnings.append(f"annotations.csv: dropped {_counted(lines, 'repeated line', 'repeated lines')}")
    lost = series_without_file(table.nodules, set(scans) | set(elsewhere))
    if lost:
        nodules = sum(len(table.nodules[uid]) for uid in lost)
        warnings.append(
            f"annotations.csv has {nodules} nodules of {_counted(lost, 'series', 'series')} without a file in any "
            "subset; they are not used"
        )
    return warnings


def _warn_of_voxels(scans: Mapping[str, Path]) -> list[str]:
    """Check every header, but no voxels; 888 files take a few seconds."""
    broken = []
    for uid, file in scans.items():
        try:
            check_metaimage(file, inflate=False)
        except ScanError as error:
            broken.append((uid, str(error)))
    if not broken:
        return []
    return [f"{_counted([uid for uid, _ in broken], 'scan', 'scans')} cannot be read; first error: {broken[0][1]}"]


def _compare_with_published_counts(dsb_root: Path, counts: Mapping[str, int]) -> tuple[str, ...]:
    unlabelled = counts["patients"] - counts["patients_with_label"]
    notes = [f"patients without a label (not used for training): {unlabelled}"] if unlabelled else []
    rows = len(read_labels(dsb_root / LABELS))
    more = len(read_labels(dsb_root / SOLUTION)) if (dsb_root / SOLUTION).is_file() else 0
    if rows != PUBLISHED_LABELS or more not in (0, PUBLISHED_SOLUTION):
        return (
            f"the labels differ from those of DSB 2017: {rows} in {LABELS} and {more} in {SOLUTION} instead of "
            f"{PUBLISHED_LABELS} and {PUBLISHED_SOLUTION}",
            *notes,
        )
    whole = "DSB 2017 is complete" if counts["patients"] == PUBLISHED_PATIENTS else "a part of DSB 2017"
    return (f"{whole}: {counts['patients']} of {PUBLISHED_PATIENTS} patients, {rows} + {more} labels", *notes)


def _warn_of_lines(dsb_root: Path) -> list[str]:
    warnings = []
    for name in (LABELS, SOLUTION):
        lines = [str(line) for line in repeated_lines(dsb_root / name)] if (dsb_root / name).is_file() else []
        if lines:
            warnings.append(f"{name}: dropped {_counted(lines, 'repeated line', 'repeated lines')}")
    return warnings


def _warn_of_missing(patients: list[str]) -> list[str]:
    return [f"{_counted(patients, 'label', 'labels')} without a folder; not used"] if patients else []


def _warn_of_empty(folders: Mapping[str, Path]) -> list[str]:
    empty = [patient for patient, folder in folders.items() if not any(folder.iterdir())]
    return [f"{_counted(empty, 'patient folder', 'patient folders')} without files; no scan to read"] if empty else []
