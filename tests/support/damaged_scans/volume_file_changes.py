"""Volume files on the grid of the phantom, and changes that make them unusual or damage them."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.scans.volume_files.writer import write_volume
from support.damaged_scans.cases import HU_ZYX, ORIGIN_XYZ_MM, SCAN, SPACING_ZYX_MM

Write = Callable[[Path], Path]
Edit = Callable[[bytes], bytes]
TISSUES = np.random.default_rng(12).choice([-1000, -850, 45, 700], (6, 20, 24), p=[0.4, 0.3, 0.25, 0.05])
CHEST_HU = np.rint(TISSUES + np.random.default_rng(11).normal(0, 30, TISSUES.shape)).clip(-1000, 3071)
"""Air, lung, tissue and bone with noise: as many values as a scan has, so that their range can be judged."""


def image(values: NDArray[Any], kind: type = np.int16, suffix: str = ".mha", *, is_vector: bool = False) -> Write:
    """Values of any type and number of axes, on the phantom's grid."""

    def write(folder: Path) -> Path:
        image = SimpleITK.GetImageFromArray(np.asarray(values).astype(kind), isVector=is_vector)
        more = image.GetDimension() - 3
        if more >= 0:
            image.SetSpacing([*SPACING_ZYX_MM[::-1], *[1.0] * more])
            image.SetOrigin([*ORIGIN_XYZ_MM, *[0.0] * more])
        SimpleITK.WriteImage(image, str(folder / f"scan{suffix}"))
        return folder / f"scan{suffix}"

    return write


def with_one(value: float) -> NDArray[np.float64]:
    values = CHEST_HU.copy()
    values[3, 4, 5] = value
    return values


def framed(outside_hu: int) -> NDArray[np.float64]:
    """A round field of view: nothing was measured in the corners."""
    y, x = np.ogrid[-1:1:20j, -1:1:24j]
    return np.where(y**2 + x**2 > 1, outside_hu, CHEST_HU)


def stored_along(direction: NDArray[Any], suffix: str = ".mhd") -> Write:
    """The phantom, standing where it always stands, with its axes stored in another order and sense."""

    def write(folder: Path) -> Path:
        axes_xyz = np.abs(direction).argmax(axis=0)  # world axis of each index axis x, y, z
        flips_xyz = direction[axes_xyz, range(3)] < 0
        turned = HU_ZYX.transpose([2 - axis for axis in axes_xyz[::-1]])
        voxels = turned[tuple(slice(None, None, -1 if flip else 1) for flip in flips_xyz[::-1])]
        spacing_xyz = np.array(SPACING_ZYX_MM[::-1])
        corner_xyz = np.zeros(3)
        corner_xyz[axes_xyz] = np.where(flips_xyz, np.array(voxels.shape[::-1]) - 1, 0)
        origin = np.array(ORIGIN_XYZ_MM) + corner_xyz * spacing_xyz
        spacing = tuple(float(v) for v in spacing_xyz[axes_xyz][::-1])
        volume = Volume(np.ascontiguousarray(voxels), spacing, tuple(origin), tuple(direction.ravel()))
        write_volume(volume, folder / f"scan{suffix}")
        return folder / f"scan{suffix}"

    return write


def same(data: bytes) -> bytes:
    return data


def mhd(
    header: Edit = same,
    voxels: Edit = same,
    *,
    compress: bool = False,
    raw: Callable[[Path], object] = lambda file: None,
) -> Write:
    """A header and its data file, changed."""

    def write(folder: Path) -> Path:
        write_volume(SCAN, folder / "scan.mhd", compress=compress)
        data = folder / ("scan.zraw" if compress else "scan.raw")
        data.write_bytes(voxels(data.read_bytes()))
        raw(data)
        (folder / "scan.mhd").write_bytes(header((folder / "scan.mhd").read_bytes()))
        return folder / "scan.mhd"

    return write


def single(suffix: str, edit: Edit = same, *, compress: bool = False) -> Write:
    def write(folder: Path) -> Path:
        path = folder / f"scan{suffix}"
        write_volume(SCAN, path, compress=compress)
        path.write_bytes(edit(path.read_bytes()))
        return path

    return write


def of_bytes(name: str, data: bytes) -> Write:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def renamed(suffix: str, name: str) -> Write:
    return lambda folder: single(suffix)(folder).rename(folder / name)


def put(pattern: bytes, value: bytes) -> Edit:
    """Replace a part of a header that must be there."""

    def edit(data: bytes) -> bytes:
        changed, count = re.subn(pattern, lambda match: value, data, count=1)
        if not count:
            raise LookupError(f"{pattern!r} is not in the header {data[:600]!r}")
        return changed

    return edit


def matrix(numbers: str) -> Edit:
    return put(rb"TransformMatrix[^\n]*", f"TransformMatrix = {numbers}".encode())


def pack(offset: int, layout: str, *values: float) -> Edit:
    packed = struct.pack(layout, *values)
    return lambda data: data[:offset] + packed + data[offset + len(packed) :]


def swap_bytes(data: bytes) -> bytes:
    return np.frombuffer(data, np.int16).byteswap().tobytes()


def spoil_middle(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(byte ^ 0x55 for byte in data[middle : middle + 20]) + data[middle + 20 :]


def spoil_sum(data: bytes) -> bytes:
    """The check sum of a gzip stands before its last four bytes."""
    return data[:-8] + b"\0\0\0\0" + data[-4:]


def shear(data: bytes) -> bytes:
    """The sform alone counts, and its y axis leans by 45 degrees."""
    rows = struct.pack("<12f", -0.8, -0.6, 0, 120.5, 0, -0.6, 0, -33.25, 0, 0, 2.5, -301)
    return pack(252, "<2h", 0, 1)(data[:280] + rows + data[328:])


def detached(folder: Path) -> Path:
    path = single(".nrrd")(folder)
    header, voxels = path.read_bytes().split(b"\n\n", 1)
    (folder / "voxels.raw").write_bytes(voxels)
    path.write_bytes(header + b"\ndata file: voxels.raw\n\n")
    return path


def hide_name(header: bytes) -> bytes:
    return b"Comment = ElementDataFile = LOCAL\n" + header.replace(b"scan.raw", b"/etc/passwd")


def in_mac_lines(data: bytes) -> bytes:
    header = data[: data.index(b"\n\n")] + b"\ndata file: /etc/passwd\n\n"
    magic, rest = header.split(b"\n", 1)
    return magic + b"\n" + rest.replace(b"\n", b"\r") + data[data.index(b"\n\n") + 2 :]


def of_parts(join: Callable[[bytes, bytes], bytes]) -> Write:
    """One MetaImage file made of the header and the voxels of two."""

    def write(folder: Path) -> Path:
        write_volume(SCAN, folder / "scan.mhd", compress=False)
        header, voxels = folder / "scan.mhd", folder / "scan.raw"
        (folder / "scan.mha").write_bytes(join(header.read_bytes(), voxels.read_bytes()))
        header.unlink()
        voxels.unlink()
        return folder / "scan.mha"

    return write


def colon_name(header: bytes, voxels: bytes) -> bytes:
    """ITK takes a colon for an equals sign."""
    return (
        put(b"ElementDataFile = scan.raw", b"ElementDataFile : /etc/passwd\nElementDataFile = LOCAL")(header) + voxels
    )


def mac_line_name(header: bytes, voxels: bytes) -> bytes:
    """ITK does not end a line at a carriage return; what follows LOCAL is as long as the voxels should be."""
    after = b"ElementDataFile = /etc/passwd\n"
    told = put(b"ElementDataFile = scan.raw\n", b"Comment = a\rElementDataFile = LOCAL\n" + after)(header)
    return told + voxels[: len(voxels) - len(after)]


def far_name(data: bytes) -> bytes:
    return put(b"\n\n", b"\n# " + b"x" * 70000 + b"\ndata file: /etc/passwd\n\n")(data)


def mac_empty_line(data: bytes) -> bytes:
    return put(b"\n\n", b"\n\rdata file: /etc/passwd\n\n")(data)
