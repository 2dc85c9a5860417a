from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from nodules.scans.dicom import source as dicom_source
from nodules.scans.dicom.source import FileSource, file_source, folder_source, zip_source
from nodules.scans.result import ScanError


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _read_all(source: FileSource) -> dict[str, bytes]:
    found = {}
    for name, opener in source.openers.items():
        with opener() as file:
            found[name] = file.read()
    return found


def _refusal(data: bytes) -> str:
    with pytest.raises(ScanError) as caught, zip_source(io.BytesIO(data), "scan.zip"):
        pass
    return str(caught.value)


class TestFolder:
    def test_files_at_any_depth_in_order_of_name(self, tmp_path):
        (tmp_path / "b" / "c").mkdir(parents=True)
        for name in ("z", "b/c/y", "a"):
            (tmp_path / name).write_text(name)
        assert list(_read_all(folder_source(tmp_path)).items()) == [("a", b"a"), ("b/c/y", b"b/c/y"), ("z", b"z")]

    def test_link_loop_ends_and_every_folder_is_read_once(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "1").write_text("one")
        (tmp_path / "a" / "up").symlink_to(tmp_path)
        (tmp_path / "again").symlink_to(tmp_path / "a")
        assert list(_read_all(folder_source(tmp_path)).values()) == [b"one"]

    def test_link_to_a_folder_outside_is_followed(self, tmp_path):
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / "1").write_text("one")
        (tmp_path / "scan").mkdir()
        (tmp_path / "scan" / "series").symlink_to(tmp_path / "store")
        assert _read_all(folder_source(tmp_path / "scan")) == {"series/1": b"one"}

    @pytest.mark.parametrize("target", ["gone", "slice"])
    def test_link_that_leads_nowhere_is_not_lost_silently(self, tmp_path, target):
        (tmp_path / "slice").symlink_to(target)  # "slice" leads to itself
        with pytest.raises(ScanError, match="slice is a broken link"):
            folder_source(tmp_path)

    def test_named_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        assert not folder_source(tmp_path).openers

    def test_folder_that_cannot_be_listed(self, tmp_path, monkeypatch):
        def refuse(_path):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(ScanError, match="cannot be listed: Permission denied"):
            folder_source(tmp_path)

    def test_too_many_files(self, tmp_path, monkeypatch):
        monkeypatch.setattr(dicom_source, "MAX_FILES", 2)
        for k in range(2):
            (tmp_path / str(k)).touch()
        assert len(folder_source(tmp_path).openers) == 2
        (tmp_path / "2").touch()
        with pytest.raises(ScanError, match="more than 2 files"):
            folder_source(tmp_path)

    def test_archives_are_left_out_with_the_reason(self, tmp_path):
        (tmp_path / "a.ZIP").write_bytes(_zip({"x": b"x"}))
        (tmp_path / "b.dcm").write_text("b")
        source = folder_source(tmp_path)
        assert list(source.openers) == ["b.dcm"]
        assert source.left_out == {"a.ZIP": "archive inside a folder"}

    def test_file_over_the_limit(self, tmp_path, monkeypatch):
        monkeypatch.setattr(dicom_source, "MAX_FILE_BYTES", 3)
        (tmp_path / "a").write_text("abcd")
        with pytest.raises(ScanError, match="a has 4 bytes, over the limit of 3"):
            folder_source(tmp_path).openers["a"]()

    def test_one_file(self, tmp_path):
        (tmp_path / "a").write_text("abcd")
        assert _read_all(file_source(tmp_path / "a")) == {"a": b"abcd"}

    def test_a_length_out_of_a_damaged_header_takes_no_memory(self, tmp_path):
        (tmp_path / "a").write_text("abcd")
        with folder_source(tmp_path).openers["a"]() as file:
            assert file.read(1) == b"a"
            assert file.read(2**62) == b"bcd"  # a plain file raises MemoryError
            assert file.read(2**62) == b""
            file.seek(2)
            assert file.read() == b"cd"
            file.seek(90_000)
            assert file.read() == b""


class TestZip:
    def test_members_in_order_of_name(self):
        data = _zip({"b": b"2", "a/": b"", "a/c": b"1", "__MACOSX/._b": b"3"})
        with zip_source(io.BytesIO(data), "scan.zip") as source:
            assert list(_read_all(source).items()) == [("a/c", b"1"), ("b", b"2")]

    def test_names_that_leave_the_folder_write_nothing(self, tmp_path, monkeypatch):
        (tmp_path / "in").mkdir()
        monkeypatch.chdir(tmp_path / "in")
        outside = tmp_path / "absolute"
        members = {"../up": b"1", str(outside): b"2", "..\\back": b"3", "C:\\root": b"4", "a/../../up2": b"5"}
        with zip_source(io.BytesIO(_zip(members)), "scan.zip") as source:
            assert sorted(_read_all(source).values()) == [b"1", b"2", b"3", b"4", b"5"]
        assert list(tmp_path.rglob("*")) == [tmp_path / "in"]

    def test_archives_inside_are_left_out_with_the_reason(self):
        data = _zip({"inner.zip": _zip({"a": b"1"}), "inner.TGZ": b"", "slice": b"2"})
        with zip_source(io.BytesIO(data), "scan.zip") as source:
            assert _read_all(source) == {"slice": b"2"}
            assert source.left_out == {"inner.zip": "archive inside the zip", "inner.TGZ": "archive inside the zip"}

    @pytest.mark.parametrize("flag", [0x1, 0x40])
    def test_password(self, flag):
        data = bytearray(_zip({"a": b"1"}))
        data[data.index(b"PK\x01\x02") + 8] |= flag
        assert "the zip is encrypted" in _refusal(data)

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_other_compression(self, method):
        assert f"a is packed by method {method}" in _refusal(_zip({"a": b"1"}, method))

    def test_unknown_compression(self):
        data = bytearray(_zip({"a": b"1"}))
        data[data.index(b"PK\x01\x02") + 10] = 97
        assert "a is packed by method 97" in _refusal(data)

    @pytest.mark.parametrize(
        "data",
        [b"", b"hello", _zip({"a": b"1"})[:-23], _zip({"a": b"1"})[:30], b"PK\5\6" * 9],
        ids=["empty", "text", "no end", "start only", "ends only"],  # a zip holds the time: no name for a test
    )
    def test_damaged(self, data):
        assert "expected a folder or a zip" in _refusal(data)

    @pytest.mark.parametrize("at", range(0, 46, 3))
    def test_damaged_list_of_members(self, at):
        """Whatever byte is wrong, the zip is refused or read; nothing but ScanError and zipfile's own error comes."""
        data = bytearray(_zip({"a": b"1" * 50}))
        data[data.index(b"PK\x01\x02") + at] ^= 0xFF
        try:
            with zip_source(io.BytesIO(data), "scan.zip") as source:
                _read_all(source)
        except (ScanError, zipfile.BadZipFile):
            pass


class TestZipBomb:
    def test_sum_over_the_limit(self, monkeypatch):
        monkeypatch.setattr(dicom_source, "MAX_SCAN_BYTES", 1000)
        assert "unpacks to 1200 bytes, over the limit of 1000" in _refusal(_zip({"a": b"1" * 600, "b": b"1" * 600}))

    def test_member_over_the_limit(self, monkeypatch):
        monkeypatch.setattr(dicom_source, "MAX_FILE_BYTES", 1000)
        assert "a has 1200 bytes, over the limit of 1000" in _refusal(_zip({"a": b"1" * 1200}))

    def test_ratio(self, monkeypatch):
        """Deflate packs equal bytes to about a thousandth."""
        monkeypatch.setattr(dicom_source, "RATIO_CHECK_FROM_BYTES", 2**16)
        with zip_source(io.BytesIO(_zip({"a": bytes(2**16)})), "scan.zip") as source:
            assert len(source.openers) == 1
        assert "as only a zip bomb does" in _refusal(_zip({"a": bytes(2**16 + 1)}))

    def test_header_that_lies_about_the_size(self):
        """A million bytes that call themselves ten: no more than ten are unpacked, then the checksum is wrong."""
        data = bytearray(_zip({"a": bytes(10**6)}))
        struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 24, 10)
        with zip_source(io.BytesIO(data), "scan.zip") as source, pytest.raises(zipfile.BadZipFile, match="CRC"):
            _read_all(source)
        struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 16, zlib.crc32(bytes(10)))
        with zip_source(io.BytesIO(data), "scan.zip") as source:
            assert _read_all(source) == {"a": bytes(10)}

    def test_too_many_members(self, monkeypatch):
        monkeypatch.setattr(dicom_source, "MAX_FILES", 3)
        assert "more than 3 files" in _refusal(_zip({str(k): b"" for k in range(4)}))

    def test_list_of_members_too_long_to_be_read(self):
        data = bytearray(_zip({"a": b"1"}))
        struct.pack_into("<L", data, data.index(b"PK\x05\x06") + 12, 2**25 + 1)
        assert "list of members of the zip has 33554433 bytes" in _refusal(data)

    def test_list_of_members_too_long_by_its_64_bit_record(self):
        data = _zip({"a": b"1"})
        end = data.index(b"PK\x05\x06")
        record = b"PK\6\6" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, 1, 1, 2**40, 0)
        locator = b"PK\6\7" + struct.pack("<LQL", 0, end, 1)
        assert f"list of members of the zip has {2**40} bytes" in _refusal(data[:end] + record + locator + data[end:])


def test_real_zip_file_stays_where_it_is(tmp_path):
    path = tmp_path / "scan.zip"
    path.write_bytes(_zip({"a": b"1"}))
    with path.open("rb") as file, zip_source(file, str(path)) as source:
        assert _read_all(source) == {"a": b"1"}
    assert list(Path(tmp_path).iterdir()) == [path]
