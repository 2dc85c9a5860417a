"""The pixels of one DICOM slice in HU."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from nodules.imaging.volume import AIR_HU, MAX_HU
from nodules.scans.dicom_source import FileSource
from nodules.scans.scan_error import ScanError

DAMAGE = (
    AttributeError,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What pydicom, its decoders and zipfile raise for a damaged file."""


def read_hu(source: FileSource, name: str) -> NDArray[np.int16]:
    """Decode one slice, by its own rescale slope and intercept.

    Parameters
    ----------
    source : FileSource
        Where the file lies.
    name : str
        The file in `source`.

    Returns
    -------
    (Y, X) ndarray
        int16 HU clipped to [`AIR_HU`, `MAX_HU`]; padding is `AIR_HU`.

    Raises
    ------
    ScanError
        If the file is cut short, its compression is unknown, or slope or intercept is missing.
    """
    try:
        with source.openers[name]() as file:
            dataset = pydicom.dcmread(file)
            stored = dataset.pixel_array
        slope, intercept = np.float32(dataset.RescaleSlope), np.float32(dataset.RescaleIntercept)
        padding = _is_padding(stored, dataset)
    except DAMAGE as error:
        raise ScanError(f"{source.label}: {name} cannot be decoded to HU: {error}") from error
    if not (np.isfinite(slope) and np.isfinite(intercept) and slope):
        raise ScanError(f"{source.label}: {name} has the impossible rescale slope {slope} or intercept {intercept}")
    hu = np.rint(np.clip(stored * slope + intercept, AIR_HU, MAX_HU)).astype(np.int16)
    hu[padding] = AIR_HU
    return hu


def _is_padding(stored: NDArray[Any], dataset: pydicom.Dataset) -> NDArray[np.bool_]:
    """Find the pixels that the scanner never measured (DICOM PS3.3 C.7.5.1.1.2)."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = [_as_stored(end, stored) for end in (value, value if limit is None else limit)]
    return (stored >= min(ends)) & (stored <= max(ends))


def _as_stored(value: Any, stored: NDArray[Any]) -> int:
    """Read the header's 16 bits with the sign of the pixels: 63536 beside signed pixels is -2000."""
    bits = int(value) & 0xFFFF
    return bits - 0x10000 if np.issubdtype(stored.dtype, np.signedinteger) and bits & 0x8000 else bits
