"""Valid small scans of every kind, and random mutations of their files."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.random import Generator
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from nodules.imaging.geometry.volume import Volume
from nodules.scans.volume_files.writer import write_volume
from support.dicom_files import recompress, write_enhanced, write_series, zip_folder

SPACING_ZYX_MM = (2.5, 0.6, 0.8)
ORIGIN_XYZ_MM = (-120.5, 33.25, -301.0)
SYNTAXES = {
    "plain": None,
    "implicit": ImplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "run_length": RLELossless,
    "jpeg": JPEGLosslessSV1,
    "jpeg_ls": JPEGLSLossless,
    "jpeg_2000": JPEG2000Lossless,
}
NUMBERS = ["-1", "0", "1", "1e308", "-1e308", "nan", "inf", "2147483647", "2147483648", "4294967296", "9" * 30, "", "x"]
EXTREMES = [bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0"]

Mutation = Callable[[bytes, Generator], bytes]


@dataclass(frozen=True)
class Files:
    """Files of a scan.

    Attributes
    ----------
    contents : mapping of str to bytes
        Contents by file name.
    """

    contents: Mapping[str, bytes]

    @classmethod
    def of(cls, folder: Path) -> Files:
        """Read all files of a folder."""
        return cls({file.name: file.read_bytes() for file in sorted(folder.iterdir())})

    def write(self, folder: Path) -> Path:
        """Write the files, and return the path that a user would give: the header, the only file, or the folder."""
        for name, data in self.contents.items():
            (folder / name).write_bytes(data)
        headers = [name for name in self.contents if name.endswith(".mhd")]
        only = headers or list(self.contents)
        return folder / only[0] if len(only) == 1 else folder


def write_seeds(folder: Path) -> None:
    """Write valid scans, one folder for each kind."""
    tissues = np.random.default_rng(1).choice([-1000, -860, 45, 700], (5, 40, 44))
    noise = np.random.default_rng(2).normal(0, 15, tissues.shape)
    hu_zyx = np.rint(tissues + noise).clip(-1000, 3071).astype(np.int16)
    for name, syntax in SYNTAXES.items():
        files = write_series(folder / f"dicom_{name}", hu_zyx, SPACING_ZYX_MM, ORIGIN_XYZ_MM)
        if syntax is not None:
            for file in files:
                recompress(file, syntax)
    for name, syntax in {"plain": None, "jpeg_ls": JPEGLSLossless}.items():
        path = write_enhanced(folder / f"dicom_frames_{name}" / "ct.dcm", hu_zyx, SPACING_ZYX_MM, ORIGIN_XYZ_MM)
        if syntax:
            recompress(path, syntax)
    (folder / "zip").mkdir()
    zip_folder(folder / "dicom_plain", folder / "zip" / "scan.zip")
    volume = Volume(hu_zyx, SPACING_ZYX_MM, ORIGIN_XYZ_MM)
    for kind, name, compress in [
        ("metaimage_raw", "scan.mhd", False),
        ("metaimage_zraw", "scan.mhd", True),
        ("metaimage_mha", "scan.mha", False),
        ("metaimage_mha_packed", "scan.mha", True),
        ("nifti", "scan.nii", False),
        ("nifti_gz", "scan.nii.gz", True),
        ("nrrd", "scan.nrrd", False),
        ("nrrd_gz", "scan.nrrd", True),
    ]:
        (folder / kind).mkdir()
        write_volume(volume, folder / kind / name, compress=compress)


def mutated(files: Files, random: Generator) -> Files:
    """Mutate one file or all files, usually once; sometimes also copy or delete a file."""
    contents = dict(files.contents)
    names = list(contents)
    chosen = names if random.random() < 0.2 else [names[random.integers(len(names))]]
    for _ in range(min(random.geometric(0.6), 5)):
        state = random.bit_generator.state
        for name in chosen:
            random.bit_generator.state = state  # the same change to every file keeps the series consistent
            contents[name] = _mutation(name, random)(contents[name], random)
    if len(names) > 1 and random.random() < 0.1:
        contents[f"copy of {chosen[0]}"] = contents[chosen[0]]
    if len(names) > 2 and random.random() < 0.1:
        del contents[names[random.integers(len(names))]]
    return Files(contents)


def flip_bits(data: bytes, random: Generator) -> bytes:
    """Flip up to 20 bits, half of the time near the start."""
    changed = bytearray(data)
    reach = min(len(data), 2000) if random.random() < 0.5 else len(data)
    for place in random.integers(0, max(reach, 1), random.integers(1, 21)) if data else []:
        changed[place] ^= 1 << random.integers(8)
    return bytes(changed)


def truncate(data: bytes, random: Generator) -> bytes:
    """Keep only the start."""
    return data[: random.integers(len(data) + 1)]


def swap_blocks(data: bytes, random: Generator) -> bytes:
    """Swap two blocks of equal size."""
    if len(data) < 2:
        return data
    size = int(random.integers(1, len(data) // 2 + 1))
    first = int(random.integers(len(data) - 2 * size + 1))
    second = int(random.integers(first + size, len(data) - size + 1))
    one, other = data[first : first + size], data[second : second + size]
    return data[:first] + other + data[first + size : second] + one + data[second + size :]


def repeat_block(data: bytes, random: Generator) -> bytes:
    """Repeat a block."""
    first, last = sorted(random.integers(0, len(data) + 1, 2).tolist())
    return data[:last] + data[first:last] + data[last:]


def cut_block(data: bytes, random: Generator) -> bytes:
    """Remove a block of up to 200 bytes."""
    first = int(random.integers(len(data) + 1))
    return data[:first] + data[first + int(random.integers(1, 200)) :]


def noise_block(data: bytes, random: Generator) -> bytes:
    """Overwrite a block with noise."""
    first = int(random.integers(len(data) + 1))
    noise = random.bytes(int(random.integers(1, 100)))
    return data[:first] + noise + data[first + len(noise) :]


def set_extreme(data: bytes, random: Generator) -> bytes:
    """Set two or four bytes near the start to an extreme number."""
    first = int(random.integers(min(len(data), 2000) + 1))
    value = EXTREMES[random.integers(len(EXTREMES))][: 2 if random.random() < 0.5 else 4]
    return data[:first] + value + data[first + len(value) :]


def edit_text_header(data: bytes, random: Generator) -> bytes:
    """Change a number of a text header, delete a line, or write it twice."""
    end = data.find(b"\n\n") if data.startswith(b"NRRD") else data.find(b"ElementDataFile")
    lines = data[: max(end, 0)].split(b"\n")
    place, way = int(random.integers(len(lines))), random.integers(4)
    if way == 0:
        del lines[place]
    elif way == 1:
        lines.insert(place, lines[place])
    else:
        numbers = list(re.finditer(rb"[-+.\deE]+", lines[place]))
        if numbers:
            found = numbers[random.integers(len(numbers))]
            value = NUMBERS[random.integers(len(NUMBERS))].encode()
            lines[place] = lines[place][: found.start()] + value + lines[place][found.end() :]
    return b"\n".join(lines) + data[max(end, 0) :]


def edit_tag(data: bytes, random: Generator) -> bytes:
    """Set a DICOM element to another number of its kind, empty it, or delete it."""
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        elements = [element for element in dataset.iterall() if element.keyword != "PixelData"]
        element = elements[random.integers(len(elements))]
        way = random.integers(3)
        if way == 0 and element.tag in dataset:
            del dataset[element.tag]
        elif way == 1 or element.VR == "SQ":
            element.value = None
        else:
            element.value = _other_value(element, random)
        changed = io.BytesIO()
        dataset.save_as(changed)
    except (InvalidDicomError, *_UNWRITABLE):
        return flip_bits(data, random)
    return changed.getvalue()


def edit_member(data: bytes, random: Generator) -> bytes:
    """Mutate one file inside a zip, which remains a valid zip."""
    changed = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as copy:
            names = archive.namelist()
            chosen = random.integers(len(names))
            for k, name in enumerate(names):
                member = archive.read(name)
                content = _mutation("", random)(member, random) if k == chosen else member
                copy.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)  # with a fixed date
    except (zipfile.BadZipFile, *_UNWRITABLE):
        return flip_bits(data, random)
    return changed.getvalue()


BYTE_MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    truncate,
    swap_blocks,
    repeat_block,
    cut_block,
    noise_block,
    set_extreme,
)
_UNWRITABLE = (
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom and zipfile raise where an earlier change has left nothing to be edited."""

_KNOWING: dict[str, Mutation] = {
    ".zip": edit_member,
    ".mhd": edit_text_header,
    ".mha": edit_text_header,
    ".nrrd": edit_text_header,
}
_NO_HEADER = (".raw", ".zraw", ".nii", ".gz")
_NUMBER_STRINGS = ["-1", "0", "1", "2000", "0.001", "99999", "-1e9", "2147483647"]
_STRINGS = ["ORIGINAL", "1.2.3", "CT", "MR", "..", "\u00e9\u00e9", "A" * 64]


def _mutation(name: str, random: Generator) -> Mutation:
    """Draw a mutation; half of the time, one that knows the file format."""
    suffix = Path(name).suffix
    if random.random() < 0.5 and suffix not in _NO_HEADER:
        return _KNOWING.get(suffix, edit_tag)
    return BYTE_MUTATIONS[random.integers(len(BYTE_MUTATIONS))]


def _other_value(element: pydicom.DataElement, random: Generator) -> object:
    if element.VR in ("US", "SS", "UL", "SL", "US or SS"):
        return int(random.choice([0, 1, 7, 8, 12, 16, 17, 255, 30000, 32767]))
    count = max(element.VM, 1) if random.random() < 0.7 else int(random.integers(1, 8))
    if element.VR in ("DS", "IS"):
        return [str(random.choice(_NUMBER_STRINGS)) for _ in range(count)]
    return "\\".join(str(random.choice(_STRINGS)) for _ in range(count))
