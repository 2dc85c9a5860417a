"""The folder of real data that pretraining reads: cubes, excerpts with readers' outlines, whole scans, LIDC's XML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nodules.pretraining.excerpts import series
from nodules.pretraining.settings import Source
from nodules.scans.lidc.xml_file import SeriesReadings, find_readings, read_series
from nodules.scans.read import read_scan
from nodules.scans.result import Reading, ReadingParams, ScanError
from nodules.scans.tables.nodule_cubes import NoduleCube, by_series, read_cube_table
from nodules.scans.tables.table import read_table

HEADER_COLUMNS = [f"{name}{axis}" for name in ("", "spacing_", "size_", "direction_") for axis in "xyz"]


@dataclass(frozen=True)
class RealSeries:
    """What the folder holds of one series from one source.

    Attributes
    ----------
    source : {"cubes", "excerpts", "scans"}
        The kind of data.
    name : str
        Unique among those of its source: the series UID, or `patient` and file of a whole scan.
    patient : str
        LIDC-IDRI's patient ID.
    subset : int or None
        LUNA16 subset of the patient's scan, where it is known.
    cubes : tuple of NoduleCube
        Of this series; empty for other sources.
    file : Path or None
        File or folder of a whole scan.
    """

    source: Source
    name: str
    patient: str
    subset: int | None
    cubes: tuple[NoduleCube, ...] = ()
    file: Path | None = None


@dataclass(frozen=True)
class RealData:
    """A folder of real data.

    It holds `nodule_cubes/` (`scans.tables.nodule_cubes`), and may hold `luna16_slices/` with `luna16_readers/` and
    `tables/luna16/headers.csv.gz` (columns seriesuid and patient), and `whole_scans/PATIENT/` with `lidc_xml/`.
    """

    folder: Path

    @property
    def cube_folder(self) -> Path:
        """Folder of the cubes."""
        return self.folder / "nodule_cubes"

    @property
    def excerpt_folder(self) -> Path:
        """Folder of the excerpts."""
        return self.folder / "luna16_slices"

    @property
    def readers_folder(self) -> Path:
        """Folder of the readers' outlines of the excerpts."""
        return self.folder / "luna16_readers"

    @property
    def header_table(self) -> Path:
        """Table with the patient and the grid of each LUNA16 series."""
        return self.folder / "tables/luna16/headers.csv.gz"

    @property
    def xml_folder(self) -> Path:
        """Folder of LIDC's XML files."""
        return self.folder / "lidc_xml"

    @cached_property
    def cubes(self) -> list[NoduleCube]:
        """The cubes in file order."""
        return read_cube_table(self.cube_folder)

    def headers(self) -> dict[str, dict[str, Any]]:
        """Header of each LUNA16 series by its UID, as in `headers.csv.gz`; empty if there is no such table.

        Raises
        ------
        ScanError
            If the table lacks a column.
        """
        if not self.header_table.is_file():
            return {}
        table = read_table(self.header_table, "seriesuid", HEADER_COLUMNS, "expected LUNA16's headers")
        return dict(zip(table["seriesuid"], table[HEADER_COLUMNS].to_dict("records"), strict=True))

    def read_scan(self, file: Path, params: ReadingParams) -> tuple[Reading, SeriesReadings]:
        """Read a whole scan and LIDC's readings of its series.

        Raises
        ------
        ScanError
            As `scans.read.read_scan`, or if there are no readings of the series.
        """
        read = read_scan(file, params)
        uid = read.series_uid or ""
        xml = find_readings(self.xml_folder).get(uid)
        if xml is None:
            raise ScanError(f"{file}: {self.xml_folder} holds no readings of its series {read.series_uid}")
        return read, read_series(uid, xml)

    def series(self) -> list[RealSeries]:
        """All series of all sources.

        Raises
        ------
        ScanError
            If the cubes are missing, or the patient of an excerpt is not known.
        """
        found = [
            RealSeries("cubes", uid, cubes[0].patient, cubes[0].subset, cubes=tuple(cubes))
            for uid, cubes in by_series(self.cubes).items()
        ]
        return [*found, *self._excerpts(), *self._scans()]

    def _excerpts(self) -> Iterator[RealSeries]:
        if not self.excerpt_folder.is_dir():
            return
        table = self.header_table
        headers = read_table(table, "seriesuid", ["patient"], "expected the patient of each series of LUNA16")
        patients = dict(zip(headers["seriesuid"], headers["patient"], strict=True))
        for uid, file in series(self.excerpt_folder).items():
            if uid not in patients:
                raise ScanError(f"{file}: {table} does not name the patient of this series")
            # The fold is drawn: all excerpts that are published here come from one subset.
            yield RealSeries("excerpts", uid, patients[uid], None)

    def _scans(self) -> Iterator[RealSeries]:
        for file in sorted(self.folder.glob("whole_scans/*/*")):
            yield RealSeries("scans", f"{file.parent.name}-{file.stem}", file.parent.name, None, file=file)
