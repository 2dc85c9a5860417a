from __future__ import annotations

import io
import zlib
from functools import partial

import numpy as np
import pytest
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from nodules.scans.dicom import parsing as dicom_parsing
from nodules.scans.dicom.parsing import parse
from nodules.scans.dicom.source import FileSource, folder_source
from nodules.scans.result import ScanError
from support.dicom_files import recompress, write_series


@pytest.fixture
def path(tmp_path):
    (file,) = write_series(tmp_path, np.zeros((1, 20, 30)))
    return file


def _source(data: bytes) -> FileSource:
    return FileSource("scan", {"a": partial(io.BytesIO, data)})


def test_only_the_wanted_tags_are_read(path):
    found = parse(folder_source(path.parent), path.name, ["Rows", "PixelData"])
    assert [element.keyword for element in found] == ["Rows"]
    found = parse(folder_source(path.parent), path.name, ["Rows", "PixelData"], with_pixels=True)
    assert [element.keyword for element in found] == ["Rows", "PixelData"]
    assert len(found.PixelData) == 20 * 30 * 2


@pytest.mark.parametrize("data", [b"", b"hello", bytes(200)])
def test_not_dicom(data):
    with pytest.raises(InvalidDicomError):
        parse(_source(data), "a", ["Rows"])


def test_file_that_cannot_be_opened(path):
    source = folder_source(path.parent)
    path.unlink()
    with pytest.raises(ScanError, match=rf"{path.name} is damaged \(FileNotFoundError\)"):
        parse(source, path.name, ["Rows"])


class TestDeflated:
    def test_up_to_the_limit_and_beyond(self, path, monkeypatch):
        """The file inflates to something between 1,200 bytes of pixels and 4,000."""
        recompress(path, DeflatedExplicitVRLittleEndian)
        source = folder_source(path.parent)
        monkeypatch.setattr(dicom_parsing, "MAX_INFLATED_BYTES", 4000)
        assert parse(source, path.name, ["Rows"]).Rows == 20
        monkeypatch.setattr(dicom_parsing, "MAX_INFLATED_BYTES", 1200)
        with pytest.raises(ScanError, match="unpacks to more than 1200 bytes"):
            parse(source, path.name, ["Rows"])

    @pytest.mark.parametrize("is_implicit", [False, True])
    def test_bomb_is_refused_before_it_is_unpacked(self, is_implicit, monkeypatch):
        """The meta information may not be implicit, but pydicom reads it."""
        monkeypatch.setattr(dicom_parsing, "MAX_INFLATED_BYTES", 2**20)
        uid = str(DeflatedExplicitVRLittleEndian).encode()
        length = len(uid).to_bytes(4, "little") if is_implicit else b"UI" + len(uid).to_bytes(2, "little")
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        bomb = packer.compress(bytes(2**21)) + packer.flush()
        data = bytes(128) + b"DICM" + b"\x02\0\x10\0" + length + uid + bomb
        with pytest.raises(ScanError, match="unpacks to more than 1048576 bytes"):
            parse(_source(data), "a", ["Rows"])

    def test_damaged(self, path):
        recompress(path, DeflatedExplicitVRLittleEndian)
        data = path.read_bytes()
        with pytest.raises(ScanError, match=r"a is damaged \(error\)"):
            parse(_source(data[:-60]), "a", ["Rows"])
