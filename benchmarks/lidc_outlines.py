"""Agreement of LIDC's outlines, as this project reads them, with three references.

Run it as `python benchmarks/lidc_outlines.py --data DATA --xml XML`, where DATA is the folder that NODULES_REAL_DATA
names and XML holds LIDC-IDRI's XML files. Only the series of DATA/tables/luna16/headers.csv.gz are read. The script
prints three comparisons:

- voxels of DATA/luna16_readers: how many readers drew each voxel of the excerpts;
- DATA/tables/luna16/readings.csv.gz: volume, centre and scores of each reading;
- DATA/tables/luna16/annotations.csv: position and diameter of each nodule.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.pretraining.excerpts import readers_file, series
from nodules.pretraining.reader_marks import header_grid
from nodules.scans.lidc.outlines import drawn_voxels, outlined_nodules
from nodules.scans.lidc.xml_file import CHARACTERISTICS, SeriesReadings, find_readings, read_series
from nodules.scans.result import Reading
from nodules.scans.volume_files.reader import read_mask

VOLUME_ROUNDING_MM3, CENTRE_ROUNDING_MM = 0.0501, 0.01
"""Precision of the table of readings."""


def main() -> None:
    """Print the three comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--xml", type=Path, required=True)
    arguments = parser.parse_args()
    tables = arguments.data / "tables" / "luna16"
    grids = {row["seriesuid"]: header_grid(row) for row in pd.read_csv(tables / "headers.csv.gz").to_dict("records")}
    files = find_readings(arguments.xml)
    readings = {uid: read_series(uid, files[uid]) for uid in grids}
    print(f"{len(readings)} series, {sum(len(found.nodules) for found in readings.values())} readings of nodules")
    _print(_voxels(arguments.data, grids, readings))
    _print(_readings(pd.read_csv(tables / "readings.csv.gz").drop_duplicates(), grids, readings))
    _print(_annotations(pd.read_csv(tables / "annotations.csv"), grids, readings))


def reader_counts(readings: SeriesReadings, scan: Reading) -> NDArray[np.uint8]:
    """Count for each voxel the readers who drew it as part of a nodule of 3 mm or more.

    Parameters
    ----------
    readings : SeriesReadings
        The readings of this scan.
    scan : Reading
        The scan as it was read.

    Returns
    -------
    (Z, Y, X) ndarray of uint8
        0 to the number of readers, on the grid of the scan.

    Raises
    ------
    ScanError
        As `drawn_voxels`.
    """
    counts = np.zeros(scan.volume.voxels_zyx.size, dtype=np.uint8)
    drawn = [drawn_voxels(nodule, readings.series_uid, scan) for nodule in readings.nodules]
    for reader in {nodule.reader for nodule in readings.nodules}:
        own = [voxels for voxels, nodule in zip(drawn, readings.nodules, strict=True) if nodule.reader == reader]
        counts[np.unique(np.concatenate(own))] += 1
    return counts.reshape(scan.volume.shape_zyx)


def _voxels(
    data: Path, grids: Mapping[str, Reading], readings: Mapping[str, SeriesReadings]
) -> Iterator[tuple[str, Any]]:
    """Compare every voxel of the excerpts, whose slices are some of the scan's, stored without gaps."""
    excerpts, whole = data / "luna16_slices", pd.read_csv(data / "tables" / "luna16" / "annotations.csv")
    here = pd.read_csv(excerpts / "annotations.csv")
    equal = drawn = differ = 0
    files = series(excerpts)
    for uid, file in files.items():
        reference = read_mask(readers_file(data / "luna16_readers", file))
        counted = reader_counts(readings[uid], grids[uid])
        there = _slices_in_scan(here[here["seriesuid"] == uid], whole[whole["seriesuid"] == uid], reference, grids[uid])
        mine = counted[[there[z] for z in range(reference.shape_zyx[0])]]
        different = np.count_nonzero(mine != reference.voxels_zyx)
        equal, differ = equal + (not different), differ + different
        drawn += np.count_nonzero((mine > 0) | (reference.voxels_zyx > 0))
    yield "excerpts that are equal in every voxel", f"{equal} of {len(files)}"
    yield "voxels that any reader drew; voxels that differ", f"{drawn}; {differ}"


def _slices_in_scan(here: pd.DataFrame, whole: pd.DataFrame, excerpts: Volume, scan: Reading) -> dict[int, int]:
    """Slice of the excerpts to slice of the scan: each annotation's own and its two neighbours."""
    found: dict[int, int] = {}
    columns = ["coordX", "coordY", "diameter_mm"]
    for row in here.itertuples():
        same = whole.loc[(whole[columns] - [row.coordX, row.coordY, row.diameter_mm]).abs().sum(axis=1).idxmin()]
        z_here, z_there = (
            round(float(volume.world_to_voxel((*volume.origin_xyz_mm[:2], z_mm))[0]))
            for volume, z_mm in ((excerpts, row.coordZ), (scan.volume, same["coordZ"]))
        )
        for step in (-1, 0, 1):
            found.setdefault(z_here + step, z_there + step)
    return found


def _readings(
    table: pd.DataFrame, grids: Mapping[str, Reading], readings: Mapping[str, SeriesReadings]
) -> Iterator[tuple[str, Any]]:
    """Compare each reading with the nearest one of the same reader in the table."""
    rows = []
    for uid, found in readings.items():
        volume, stated = grids[uid].volume, table[table["seriesuid"] == uid]
        for nodule in found.nodules:
            voxels = drawn_voxels(nodule, uid, grids[uid])
            indices = np.stack(np.unravel_index(voxels, volume.shape_zyx), axis=1)
            same = stated[stated["reader"] == nodule.reader]
            apart_mm = np.linalg.norm(same[["x", "y", "z"]] - volume.voxel_to_world(indices.mean(axis=0)), axis=1)
            nearest = same.iloc[int(np.argmin(apart_mm))]
            rows.append(
                {
                    "volume": abs(len(voxels) * volume.voxel_mm3 - nearest["volume_mm3"]) <= VOLUME_ROUNDING_MM3,
                    "centre": apart_mm.min() < CENTRE_ROUNDING_MM,
                    "scores": all(nearest[name] == nodule.scores[name] for name in CHARACTERISTICS),
                    "apart_mm": apart_mm.min(),
                }
            )
    compared = pd.DataFrame(rows)
    yield "readings", len(compared)
    yield (
        "the same volume, centre, scores",
        ", ".join(str(compared[name].sum()) for name in ("volume", "centre", "scores")),
    )
    yield "largest distance of centres", f"{compared['apart_mm'].max():.2f} mm"


def _annotations(
    table: pd.DataFrame, grids: Mapping[str, Reading], readings: Mapping[str, SeriesReadings]
) -> Iterator[tuple[str, Any]]:
    """Compare each annotation with the nearest nodule that at least two readers drew."""
    rows = []
    for uid, annotated in table[table["seriesuid"].isin(grids)].groupby("seriesuid"):
        nodules = [one for one in outlined_nodules(readings[uid], grids[uid]) if one.readers >= 2]
        centres = np.array([one.centre_world_xyz for one in nodules]).reshape(-1, 3)
        for row in annotated.itertuples():
            apart_mm = np.linalg.norm(centres - [row.coordX, row.coordY, row.coordZ], axis=1)
            nearest = nodules[int(np.argmin(apart_mm))]
            hit = apart_mm.min() < row.diameter_mm / 2
            rows.append((hit, nearest.readers, apart_mm.min(), nearest.diameter_mm / row.diameter_mm))
    found = pd.DataFrame(rows, columns=["hit", "readers", "apart_mm", "ratio"])
    matched = found[found["hit"]]
    yield "annotations inside whose sphere the nearest nodule lies", f"{len(matched)} of {len(found)}"
    yield (
        "of these, drawn by 4 and by 3 readers",
        f"{(matched['readers'] == 4).sum()}, {(matched['readers'] == 3).sum()}",
    )
    yield "diameter / annotated diameter", f"{matched['ratio'].mean():.3f} +- {matched['ratio'].std():.3f}"
    yield "distance of centres, median", f"{matched['apart_mm'].median():.2f} mm"


def _print(rows: Iterator[tuple[str, Any]]) -> None:
    for name, value in rows:
        print(f"{name:<58} {value}")


if __name__ == "__main__":
    main()
