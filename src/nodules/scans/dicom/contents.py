"""Every file of a source, looked at once: the CT slices in it, and why each other file is none."""

from __future__ import annotations

import logging
from collections import Counter

from pydicom.errors import InvalidDicomError

from nodules.scans.dicom.frames import frames_of
from nodules.scans.dicom.headers import (
    ENHANCED_CT,
    HEADER_TAGS,
    Slice,
    is_dicomdir,
    reason_to_leave_out,
    slice_of,
    sop_class,
)
from nodules.scans.dicom.parsing import DAMAGE, parse
from nodules.scans.dicom.source import FileSource
from nodules.scans.result import ScanError

_LOG = logging.getLogger(__name__)


def ct_slices(source: FileSource) -> tuple[list[Slice], Counter[str]]:
    """Read the header of every file.

    Parameters
    ----------
    source : FileSource
        Files of any name, at any depth.

    Returns
    -------
    list of Slice
        Every CT slice and every frame of an enhanced CT file, of all series; at least one.
    Counter of str
        How many files were left out, by reason, those among them that the source itself leaves out.

    Raises
    ------
    ScanError
        If a DICOM file is damaged, a CT slice has no place in the world, or there is no CT slice.
    """
    slices: list[Slice] = []
    left_out = Counter(source.left_out.values())
    for name in source.openers:
        found = _slices_in(source, name)
        if isinstance(found, str):
            left_out[found] += 1
            _LOG.info("%s: %s left out: %s", source.label, name, found)
        else:
            slices += found
    if not slices:
        reasons = ", ".join(f"{n} x {reason}" for reason, n in sorted(left_out.items())) or "it is empty"
        raise ScanError(f"{source.label}: no CT slice found ({reasons}); give the folder of one CT scan")
    return slices, left_out


def _slices_in(source: FileSource, name: str) -> list[Slice] | str:
    """Return the slices of one file, or the reason to leave it out."""
    if is_dicomdir(name):
        return "DICOMDIR"
    try:
        header = parse(source, name, HEADER_TAGS)
        if reason := reason_to_leave_out(header):
            return reason
        if sop_class(header) in ENHANCED_CT:
            return frames_of(header, name, source.label) or "localizer"
        return [slice_of(header, name, source.label)]
    except InvalidDicomError:
        return "not DICOM"
    except ScanError:
        raise
    except DAMAGE as error:  # values are converted when they are asked for
        raise ScanError(f"{source.label}: {name} is damaged ({type(error).__name__}); get it again") from error
