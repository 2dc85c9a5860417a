from __future__ import annotations

import struct

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless

from nodules.scans.dicom.pixels import stated_shape_yx
from support.dicom_files import recompress, write_series


@pytest.fixture(params=[JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless], ids=["jpeg", "jpeg-ls", "jpeg-2000"])
def codestream(request, tmp_path) -> bytes:
    """A slice of 20 rows and 30 columns."""
    (path,) = write_series(tmp_path, np.random.default_rng(1).integers(-1000, 1000, (1, 20, 30)))
    recompress(path, request.param)
    return next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))


def test_real_codestreams(codestream):
    assert stated_shape_yx(codestream) == (20, 30)


def test_cut_before_its_size(codestream):
    assert stated_shape_yx(codestream[:10]) is None


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"hello" * 50, b"\xff\xd8" + b"\xff" * 50, b"\xff\xd8" + bytes(50)])
def test_none_of_the_formats(data):
    assert stated_shape_yx(data) is None


def test_jpeg_2000_in_its_wrapper_and_off_the_corner():
    """SIZ gives the reference grid and the offset of the picture in it (ISO/IEC 15444-1 A.5.1)."""
    size = struct.pack(">4L", 130, 220, 30, 20)  # right, bottom, left, top
    header = b"\xff\x4f\xff\x51" + bytes(4) + size
    assert stated_shape_yx(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60) + header) == (200, 100)


def test_jpeg_with_segments_before_the_frame():
    table = b"\xff\xc4" + (2 + 3).to_bytes(2, "big") + b"abc"
    frame = b"\xff\xc3" + (11).to_bytes(2, "big") + b"\x10" + struct.pack(">2H", 12, 34) + b"\1\1\x11\0"
    assert stated_shape_yx(b"\xff\xd8" + table + b"\xff" + frame) == (12, 34)
