"""Changes to a written DICOM series that make it unusual or damage it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import ArrayLike, NDArray
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, SecondaryCaptureImageStorage, XRayRadiationDoseSRStorage

from support.damaged_scans.cases import HU_ZYX, ORIGIN_XYZ_MM, SPACING_ZYX_MM
from support.dicom_files import INTERCEPT, SERIES_UID, change, recompress, write_series

Change = Callable[[list[Path]], object]
Write = Callable[[Path], Path]


def series(*changes: Change, hu_zyx: ArrayLike = HU_ZYX, spacing: Sequence[float] = SPACING_ZYX_MM) -> Write:
    """The phantom as an axial series, then the changes in their order."""

    def write(folder: Path) -> Path:
        files = write_series(folder, hu_zyx, spacing, ORIGIN_XYZ_MM)
        for apply in changes:
            apply(files)
        return folder

    return write


def each(**tags: Any) -> Change:
    return lambda files: [change(file, **tags) for file in files]


def nth(index: int, **tags: Any) -> Change:
    return lambda files: change(files[index], **tags)


def beside(prefix: str, uid: str = SERIES_UID, hu_zyx: NDArray[np.int16] = HU_ZYX, **tags: Any) -> Change:
    """Another series in the same folder."""
    return lambda files: write_series(
        files[0].parent, hu_zyx, SPACING_ZYX_MM, ORIGIN_XYZ_MM, series_uid=uid, prefix=prefix, **tags
    )


def nest(files: list[Path]) -> None:
    """Two folders down, under names without a suffix."""
    deep = files[0].parent / "A" / "B C"
    deep.mkdir(parents=True)
    for k, file in enumerate(files[:4]):
        file.rename(deep / f"IM{(k * 7) % 5}")


def number_backwards(files: list[Path]) -> None:
    for k, file in enumerate(files):
        change(file, InstanceNumber=len(files) - k, SliceLocation=str(-10 * k), AcquisitionNumber=k % 2)


def encode(syntax: UID) -> Change:
    return lambda files: [recompress(file, syntax) for file in files]


def claim(syntax: UID) -> Change:
    """The first file says that it is compressed otherwise than it is."""

    def apply(files: list[Path]) -> None:
        files[0].write_bytes(
            files[0].read_bytes().replace(b"1.2.840.10008.1.2.1\0", syntax.encode().ljust(20, b"\0")[:20])
        )

    return apply


def pad(files: list[Path]) -> None:
    """The header of LIDC-IDRI-0001: 63536 beside signed pixels is the padding -2000."""
    stored = np.full(HU_ZYX.shape[1:], -2000, np.int16)
    stored[3, 4] = 40
    change(files[2], PixelRepresentation=1, RescaleIntercept="0", PixelData=stored.tobytes(), PixelPaddingValue=63536)


def below_air(files: list[Path]) -> None:
    """Outside the scanner's field of view many write -2000 or -3024 HU."""
    for file, hu_yx in zip(files, HU_ZYX, strict=True):
        stored = np.where(hu_yx == -1000, -3024, hu_yx).astype(np.int16)
        change(file, PixelRepresentation=1, RescaleIntercept="0", PixelData=stored.tobytes())


def sign(bits: int, filling: int = 0) -> Change:
    """Signed pixels of so many bits in 16; `filling` is what stands in the unused ones."""

    def apply(files: list[Path]) -> None:
        for file, hu_yx in zip(files, HU_ZYX, strict=True):
            stored = (hu_yx.astype(np.int32) & (2**bits - 1)) | (filling << bits)
            pixels = stored.astype(np.uint16).tobytes()
            change(
                file, PixelRepresentation=1, BitsStored=bits, HighBit=bits - 1, RescaleIntercept="0", PixelData=pixels
            )

    return apply


def soil_high_bits(files: list[Path]) -> None:
    """An overlay of old: bits above the highest one that is used."""
    for file, hu_yx in zip(files, HU_ZYX, strict=True):
        stored = (hu_yx.astype(int) - INTERCEPT).astype(np.uint16)
        stored[1, 2] |= 0x9000
        change(file, BitsStored=12, HighBit=11, PixelData=stored.tobytes())


def in_colour(files: list[Path]) -> None:
    pixels = bytes(HU_ZYX[0].size * 3)
    for file in files:
        change(file, SamplesPerPixel=3, PhotometricInterpretation="RGB", BitsAllocated=8, BitsStored=8, HighBit=7,
               PlanarConfiguration=0, PixelData=pixels)  # fmt: skip


def copy_second(files: list[Path]) -> None:
    (files[0].parent / "copy").write_bytes(files[1].read_bytes())


def move_onto(index: int, other: int) -> Change:
    return lambda files: change(files[index], ImagePositionPatient=pydicom.dcmread(files[other]).ImagePositionPatient)


def cut_a_row(files: list[Path]) -> None:
    change(files[3], Rows=4, PixelData=bytes(4 * HU_ZYX.shape[2] * 2))


def mix_frames(files: list[Path]) -> None:
    for k, file in enumerate(files):
        change(file, FrameOfReferenceUID=f"1.2.3.{k // 3}")


def report(files: list[Path]) -> None:
    """A dose report: no picture at all."""
    path = files[0].parent / "dose"
    path.write_bytes(files[0].read_bytes())
    set_class(path, XRayRadiationDoseSRStorage)
    gone = (
        "Rows",
        "Columns",
        "PixelData",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "ImageType",
    )
    change(path, Modality="SR", SeriesInstanceUID="1.2.9", **dict.fromkeys(gone))


def capture(files: list[Path]) -> None:
    """A picture of the screen, stored with the scan."""
    path = files[0].parent / "screen"
    path.write_bytes(files[0].read_bytes())
    set_class(path, SecondaryCaptureImageStorage)
    change(path, SeriesInstanceUID="1.2.9", ImagePositionPatient=None, ImageOrientationPatient=None)


def set_class(file: Path, uid: str) -> None:
    dataset = pydicom.dcmread(file)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = uid
    dataset.save_as(file)


def rubbish_beside(files: list[Path]) -> None:
    folder = files[0].parent
    (folder / "README").write_text("exported on a Monday")
    (folder / "viewer.exe").write_bytes(bytes(range(256)) * 20)
    (folder / "scan.nii").write_bytes(bytes(400))


def pipe_and_loop(files: list[Path]) -> None:
    """What a walk over files must not wait for, nor follow for ever."""
    os.mkfifo(files[0].parent / "pipe")
    (files[0].parent / "again").symlink_to(files[0].parent, target_is_directory=True)


def broken_link(files: list[Path]) -> None:
    (files[0].parent / "far").symlink_to(files[0].parent / "gone")


def cut(missing_bytes: int) -> Change:
    return lambda files: os.truncate(files[2], files[2].stat().st_size - missing_bytes)


def rubbish_after_magic(files: list[Path]) -> None:
    noise = np.random.default_rng(2).integers(0, 256, 4000, dtype=np.uint8).tobytes()
    files[2].write_bytes(files[2].read_bytes()[:132] + noise)


def nest_sequences(files: list[Path]) -> None:
    """Sequences of undefined length inside each other, deeper than Python's stack."""
    inner = bytes.fromhex("08004011") + b"SQ\0\0" + bytes.fromhex("ffffffff") + bytes.fromhex("feff00e0ffffffff")
    data = files[2].read_bytes()
    start = data.index(bytes.fromhex("08006000"))  # before Modality, where the tag is in order
    files[2].write_bytes(data[:start] + inner * 2000 + data[start:])


def words_as_position(files: list[Path]) -> None:
    data = files[2].read_bytes()
    files[2].write_bytes(data.replace(b"-120.500000000\\", b"left of middle\\"))


def text_files(folder: Path) -> Path:
    (folder / "a.txt").write_text("no picture")
    (folder / "b.csv").write_text("1,2,3")
    return folder


def dicomdir_only(folder: Path) -> Path:
    (file,) = write_series(folder, HU_ZYX[:1])
    file.rename(folder / "DICOMDIR")
    return folder


def first_file(folder: Path) -> Path:
    return write_series(folder, HU_ZYX)[0]


def empty_beside(files: list[Path]) -> None:
    (files[0].parent / "IM9999").write_bytes(b"")


def empty_all(files: list[Path]) -> None:
    for file in files:
        file.write_bytes(b"")


def drop_preambles(files: list[Path]) -> None:
    for file in files:
        file.write_bytes(file.read_bytes()[132:])


def lengthen(files: list[Path]) -> None:
    """Some writers pad the pixels to blocks."""
    for file in files:
        change(file, PixelData=pydicom.dcmread(file).PixelData + bytes(512))


def claim_length(files: list[Path]) -> None:
    """A private element before the pixels says that it is nearly 4 GiB long."""
    data = files[2].read_bytes()
    start = data.index(bytes.fromhex("e07f1000"))
    files[2].write_bytes(data[:start] + bytes.fromhex("d97f1000") + b"OB\0\0" + b"\xf0\xff\xff\xff" + data[start:])


def deflated_bomb(files: list[Path]) -> None:
    """1 MiB that unpack to 1 GiB."""
    recompress(files[2], DeflatedExplicitVRLittleEndian)
    data = files[2].read_bytes()
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    block = bytes(2**24)
    packed = b"".join(packer.compress(block) for _ in range(64)) + packer.flush()
    files[2].write_bytes(data[: data.index(b"1.2.840.10008.1.2.1.99") + 22] + packed)
