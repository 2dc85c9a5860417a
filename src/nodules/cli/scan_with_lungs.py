"""Reading a scan and segmenting its lungs, for `nodules check` and `nodules lungs`."""

from __future__ import annotations

from pathlib import Path

from nodules import params
from nodules.cli import defaults
from nodules.imaging.lungs.segment import LungMaskParams, LungSegmentation, find_lungs
from nodules.scans.read import read_scan
from nodules.scans.result import Reading, ReadingParams, Verdict, verdict_of


def read_with_lungs(
    scan: Path, series_uid: str | None, params_file: Path | None
) -> tuple[Reading, LungSegmentation, Verdict]:
    """Read a scan, segment its lungs, and decide whether it can be used.

    Raises
    ------
    ScanError
        If the scan cannot be read.
    ParamsError
        If the parameter file is missing or wrong.
    """
    file = defaults.parameter_file(params_file)
    reading = params.load("reading", ReadingParams, file)
    lung_mask = params.load("lung_mask", LungMaskParams, file)
    read = read_scan(scan, reading, series_uid)
    found = find_lungs(read.volume, lung_mask)
    return read, found, verdict_of(read, reading, found.quality.findings)
