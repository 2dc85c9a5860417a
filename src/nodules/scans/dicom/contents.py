"""Find the CT slices among the files of a source, and count the other files by the reason to leave them out."""

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
from nodules.scans.dicom.parsing import DAMAGE_ERRORS, parse
from nodules.scans.dicom.source import FileSource
from nodules.scans.result import ScanError

_LOG = logging.getLogger(__name__)


def ct_slices(source: FileSource) -> tuple[list[Slice], Counter[str]]:
    """Read the header of every file and collect the CT slices.

    Parameters
    ----------
    source : FileSource
        Files with any names, at any depth.

    Returns
    -------
    list of Slice
        Every CT slice, and every frame of an Enhanced CT file, of all series; at least one.
    Counter of str
        Number of files left out, by reason; includes the files that the source itself left out.

    Raises
    ------
    ScanError
        If a DICOM file is damaged, a CT slice has no valid position, or there is no CT slice.
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
    except DAMAGE_ERRORS as error:  # pydicom converts values only on access, so damage may show here
        raise ScanError(f"{source.label}: {name} is damaged ({type(error).__name__}); get it again") from error
