"""Unusual, damaged and hostile zips, each with the outcome that it must have."""

from __future__ import annotations

import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from support.damaged_scans.cases import HU_ZYX, ORIGIN_XYZ_MM, SPACING_ZYX_MM, Case, Read, Refused
from support.dicom_files import write_series, zip_folder

LOCAL, CENTRAL = b"PK\3\4", b"PK\1\2"


def archive_rows() -> list[Case]:
    """All rows about zips, from a path and as bytes."""
    empty = b"PK\5\6" + bytes(18)
    neither = "it is neither, or it is damaged"
    return [
        Case("zip", _zip(), Read()),
        Case("zip_sent", _zip(), Read(), is_sent=True),
        Case("zip_with_password", _zip(_encrypt), Refused("the zip is encrypted")),
        Case("zip_with_password_sent", _zip(_encrypt), Refused("the zip is encrypted"), is_sent=True),
        Case("zip_with_names_above_its_folder", _members("../../IM{}"), Read()),
        Case("zip_with_absolute_names", _members("/etc/IM{}"), Read()),
        Case("zip_with_names_of_another_system", _members("C:\\scan\\..\\IM{}"), Read()),
        Case("zip_with_folders_of_a_mac", _members("IM{}", more={"__MACOSX/._IM0": bytes(90)}), Read()),
        Case("zip_with_a_zip_in_it", _nested, Refused("no CT slice found.*1 x archive inside the zip")),
        Case("zip_that_claims_8_gigabytes", _zip(_claim(2**32 - 2, 2)), Refused("over the limit")),
        Case("zip_that_claims_400_megabytes", _zip(_claim(2**28 + 2**27, 1)), Refused("only a zip bomb|over the")),
        Case("zip_bomb", _bomb, Refused("as only a zip bomb does")),
        Case("zip_bomb_sent", _bomb, Refused("as only a zip bomb does"), is_sent=True),
        Case(
            "zip_with_larger_members_than_it_claims", _zip(_claim(100, 6)), Refused("damaged|no CT slice found|lacks")
        ),
        Case("zip_by_another_method", _zip(_set_method(97)), Refused("packed by method 97")),
        Case("zip_by_bzip2", _members("IM{}", method=zipfile.ZIP_BZIP2), Refused("packed by method 12")),
        Case("zip_cut_short", _zip(lambda data: data[: len(data) * 2 // 3]), Refused(neither)),
        Case("zip_cut_short_sent", _zip(lambda data: data[: len(data) * 2 // 3]), Refused(neither), is_sent=True),
        Case("zip_with_a_damaged_member", _zip(_spoil_first_member), Refused(r"0000\.dcm (is damaged|cannot)")),
        Case("zip_with_one_name_for_all", _members("IM"), Refused("twice|same name")),
        Case("zip_of_zero_bytes", _zip(lambda data: b""), Refused(neither)),
        Case("zip_of_zero_bytes_sent", _zip(lambda data: b""), Refused("unknown kind of data"), is_sent=True),
        Case("zip_without_members", _zip(lambda data: empty), Refused(r"no CT slice found \(it is empty\)")),
        Case("text_named_zip", _zip(lambda data: b"no zip at all"), Refused(neither)),
        Case("zip_behind_a_program", _zip(lambda data: b"#!/bin/sh\nexit 1\n" + data), Read()),
        Case("zip_whose_directory_lies_far_away", _zip(_move_directory), Refused(f"{neither}|is damaged")),
        Case("zip_with_a_link_to_a_file_outside", _with_link, Read(left_out={"not DICOM": 1})),
    ]


def _zip(change: Callable[[bytes], bytes] = lambda data: data) -> Callable[[Path], Path]:
    """The phantom's folder as a zip, whose bytes are then changed."""

    def write(folder: Path) -> Path:
        with tempfile.TemporaryDirectory() as other:
            write_series(Path(other), HU_ZYX, SPACING_ZYX_MM, ORIGIN_XYZ_MM)
            path = zip_folder(Path(other), folder / "scan.zip")
        path.write_bytes(change(path.read_bytes()))
        return path

    return write


def _members(
    name: str, *, more: Mapping[str, bytes] = MappingProxyType({}), method: int = zipfile.ZIP_DEFLATED
) -> Callable[[Path], Path]:
    """The slices under names with their number filled in."""

    def write(folder: Path) -> Path:
        with tempfile.TemporaryDirectory() as other, zipfile.ZipFile(folder / "scan.zip", "w", method) as archive:
            for k, file in enumerate(write_series(Path(other), HU_ZYX, SPACING_ZYX_MM, ORIGIN_XYZ_MM)):
                with warnings.catch_warnings(action="ignore"):
                    archive.writestr(name.format(k), file.read_bytes())
            for other_name, data in more.items():
                archive.writestr(other_name, data)
        return folder / "scan.zip"

    return write


def _with_link(folder: Path) -> Path:
    path = _members("IM{}")(folder)
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    return path


def _nested(folder: Path) -> Path:
    inner = _zip()(folder).read_bytes()
    with zipfile.ZipFile(folder / "scan.zip", "w") as archive:
        archive.writestr("inner.zip", inner)
    return folder / "scan.zip"


def _bomb(folder: Path) -> Path:
    """384 KiB that unpack to 384 MiB."""
    with zipfile.ZipFile(folder / "scan.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("IM0", "w") as member:
        for _ in range(24):
            member.write(bytes(2**24))
    return folder / "scan.zip"


def _encrypt(data: bytes) -> bytes:
    """Set the flag of the last member, in its own header and in the directory."""
    changed = bytearray(data)
    changed[data.rindex(LOCAL) + 6] |= 1
    changed[data.rindex(CENTRAL) + 8] |= 1
    return bytes(changed)


def _claim(unpacked_bytes: int, members: int) -> Callable[[bytes], bytes]:
    """The directory claims another unpacked size for the first members."""
    return _in_directory(24, unpacked_bytes.to_bytes(4, "little"), members)


def _set_method(number: int) -> Callable[[bytes], bytes]:
    return _in_directory(10, number.to_bytes(2, "little"), 1)


def _in_directory(offset: int, value: bytes, members: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        changed, start = bytearray(data), -1
        for _ in range(members):
            start = data.index(CENTRAL, start + 1)
            changed[start + offset : start + offset + len(value)] = value
        return bytes(changed)

    return change


def _move_directory(data: bytes) -> bytes:
    """The end record says that the list of members starts 2 GiB further on."""
    end = data.rindex(b"PK\5\6")
    return data[: end + 16] + (2**31).to_bytes(4, "little") + data[end + 20 :]


def _spoil_first_member(data: bytes) -> bytes:
    return data[:120] + b"\xff" * 40 + data[160:]
