from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import JPEGLSLossless

from nodules.scans.dicom import decoder as dicom_decoder
from nodules.scans.dicom.decoder import decode
from support.dicom_files import recompress, write_series

DESCRIPTION = {
    "rows": 20,
    "columns": 30,
    "samples_per_pixel": 1,
    "photometric_interpretation": "MONOCHROME2",
    "bits_allocated": 16,
    "bits_stored": 16,
    "pixel_representation": 0,
}
STORED = np.random.default_rng(2).integers(0, 4000, (20, 30))


@pytest.fixture(autouse=True)
def _no_process_stays() -> None:
    dicom_decoder._stop()


@pytest.fixture
def codestream(tmp_path) -> bytes:
    (path,) = write_series(tmp_path, STORED[None] - 1024)
    recompress(path, JPEGLSLossless)
    return next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))


def _replace_decoder(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(dicom_decoder, "_COMMAND", [sys.executable, "-c", program])


def test_one_process_serves_all(codestream):
    for _ in range(3):
        np.testing.assert_array_equal(decode(codestream, JPEGLSLossless, DESCRIPTION), STORED)
        first = dicom_decoder._running[os.getpid()].pid
    decode(codestream, JPEGLSLossless, DESCRIPTION)
    assert dicom_decoder._running[os.getpid()].pid == first


def test_refusal_is_told_and_the_process_goes_on(codestream):
    with pytest.raises(RuntimeError, match="Unable to decode"):
        decode(codestream[:100], JPEGLSLossless, DESCRIPTION)
    with pytest.raises(RuntimeError, match=r"Bits Stored"):
        decode(codestream, JPEGLSLossless, DESCRIPTION | {"bits_stored": 99})
    first = dicom_decoder._running[os.getpid()].pid
    np.testing.assert_array_equal(decode(codestream, JPEGLSLossless, DESCRIPTION), STORED)
    assert dicom_decoder._running[os.getpid()].pid == first


@pytest.mark.parametrize(
    "program",
    [
        "import os; os.abort()",
        "import sys; sys.stdin.buffer.readline(); print('half a rep', end='')",
        """import sys; sys.stdin.buffer.readline(); print('{"dtype": "<u2", "shape": [20, 30], "bytes": 1200}')""",
    ],
    ids=["at once", "in the reply", "in the pixels"],
)
def test_decoder_that_breaks_down(codestream, monkeypatch, program):
    with monkeypatch.context() as patch:
        _replace_decoder(patch, program)
        with pytest.raises(RuntimeError, match="the decoder crashed or exceeded its limits"):
            decode(codestream, JPEGLSLossless, DESCRIPTION)
    np.testing.assert_array_equal(decode(codestream, JPEGLSLossless, DESCRIPTION), STORED)


def test_decoder_that_hangs_is_ended(codestream, monkeypatch):
    _replace_decoder(monkeypatch, "import time; time.sleep(600)")
    monkeypatch.setattr(dicom_decoder, "MAX_SECONDS", 0.1)
    with pytest.raises(RuntimeError, match="the decoder crashed or exceeded its limits"):
        decode(codestream, JPEGLSLossless, DESCRIPTION)
    assert not dicom_decoder._running


def test_what_a_decoder_prints_is_no_reply():
    """The process ends by itself when its input does, and writes nothing unasked."""
    done = subprocess.run(dicom_decoder._COMMAND, input=b"", capture_output=True, check=True, timeout=60)
    assert done.stdout == b""
