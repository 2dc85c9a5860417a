"""The size of a picture as its compressed bytes state it: JPEG, JPEG-LS and JPEG 2000."""

from __future__ import annotations

import struct

_J2K_START = b"\xff\x4f\xff\x51"  # SOC, SIZ
_J2K_BOX_BYTES = 4096  # a codestream in a JP2 wrapper starts within
_JPEG_START = b"\xff\xd8"
_JPEG_LS_FRAME = 0xF7
_NO_FRAMES = (0xC4, 0xC8, 0xCC)  # markers among C0 to CF that start no frame
_STUFFING = 0xFF


def stated_shape_yx(codestream: bytes) -> tuple[int, int] | None:
    """Rows and columns in the header of a codestream.

    A decoder makes room for what the codestream says, the reader expects what the DICOM header says: only equal sizes
    are safe.

    Parameters
    ----------
    codestream : bytes
        One frame, without the DICOM items around it.

    Returns
    -------
    tuple of int, or None
        None where it is none of the three formats or ends before its size.

    Notes
    -----
    JPEG 2000: ISO/IEC 15444-1 A.5.1 (SIZ). JPEG: ITU-T T.81 B.2.2 (SOF). JPEG-LS: ITU-T T.87 C.2.2 (SOF55).
    """
    start = codestream[:_J2K_BOX_BYTES].find(_J2K_START)
    if start >= 0 and not codestream.startswith(_JPEG_START):
        return _j2k_shape(codestream[start : start + 24])
    return _jpeg_shape(codestream) if codestream.startswith(_JPEG_START) else None


def _j2k_shape(header: bytes) -> tuple[int, int] | None:
    if len(header) < 24:
        return None
    right, bottom, left, top = struct.unpack(">4L", header[8:24])
    return bottom - top, right - left


def _jpeg_shape(codestream: bytes) -> tuple[int, int] | None:
    at = len(_JPEG_START)
    while at + 9 <= len(codestream) and codestream[at] == _STUFFING:
        marker = codestream[at + 1]
        if marker == _STUFFING:
            at += 1
            continue
        if marker == _JPEG_LS_FRAME or (0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES):
            rows, columns = struct.unpack(">2H", codestream[at + 5 : at + 9])
            return rows, columns
        at += 2 + int.from_bytes(codestream[at + 2 : at + 4], "big")
    return None
