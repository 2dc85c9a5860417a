"""Write a `Volume` to a MetaImage, NIfTI or NRRD file, which appears complete or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nodules.imaging.geometry.volume import Volume
from nodules.scans.result import ScanError
from nodules.scans.volume_files.content import VOLUME_SUFFIXES, volume_suffix


def write_volume(volume: Volume, path: Path, *, compress: bool = True) -> None:
    """Write a volume; the file appears complete or not at all, and replaces an existing one.

    Parameters
    ----------
    volume : Volume
        int16, uint8, uint16, int32 or float voxels; bool is stored as uint8, every float as float32.
    path : Path
        File with one of `VOLUME_SUFFIXES`, in an existing folder. For `.mhd`, the data file (`.zraw`, or `.raw` if not
        compressed) is written beside it.
    compress : bool
        Whether to compress losslessly. For NIfTI the suffix decides: `.nii.gz` is compressed, `.nii` is not.

    Raises
    ------
    ScanError
        If the suffix is unknown or the folder does not exist.
    """
    if volume_suffix(path) is None:
        raise ScanError(f"{path}: a volume is written as one of {', '.join(VOLUME_SUFFIXES)}")
    if not path.parent.is_dir():
        raise ScanError(f"{path}: its folder does not exist; create it first")
    image = SimpleITK.GetImageFromArray(_storable(volume.voxels_zyx))
    image.SetSpacing([float(s) for s in volume.spacing_zyx_mm[::-1]])
    image.SetOrigin([float(v) for v in volume.origin_xyz_mm])
    image.SetDirection([float(v) for v in volume.direction_xyz])
    with _atomic(path) as unfinished:
        SimpleITK.WriteImage(image, str(unfinished), compress)


def _storable(voxels_zyx: NDArray[Any]) -> NDArray[Any]:
    if voxels_zyx.dtype == bool:
        return voxels_zyx.astype(np.uint8)
    if np.issubdtype(voxels_zyx.dtype, np.floating):
        return voxels_zyx.astype(np.float32, copy=False)
    if voxels_zyx.dtype not in (np.uint8, np.int16, np.uint16, np.int32):
        raise ScanError(
            f"voxels must be bool, uint8, int16, uint16, int32 or float to be written, got {voxels_zyx.dtype}"
        )
    return voxels_zyx


@contextmanager
def _atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path; at the end, move the written files to `path`, data files before the header.

    The name of the temporary folder is fixed, so the next writer clears what a killed one left behind.
    """
    folder = path.parent / f".{path.name}.unfinished"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder / path.name
        for file in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
            file.replace(path.parent / file.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
