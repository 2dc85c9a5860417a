"""Is a LUNA16 folder whole, and does its table fit its scans? Looks at names and headers only."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from nodules.scans.scan_error import ScanError
from nodules.scans.tables.findings import Findings, named
from nodules.scans.tables.luna import AnnotationTable, read_annotation_table, series_files, series_without_file
from nodules.scans.volume_files.completeness import check_metaimage

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
