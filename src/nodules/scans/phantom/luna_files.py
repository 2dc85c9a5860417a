"""Write a rendered chest as a LUNA16 MetaImage, some with negative axis directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

UID_ROOT = "1.3.6.1.4.1.14519.5.2.1.6279.6001."
DIRECTIONS = ((1, 1, 1), (-1, -1, 1), (1, 1, -1))
DIRECTION_SHARES = (0.6, 0.2, 0.2)
COMPRESSED_SHARE = 0.2


def draw_series_uid(rng: np.random.Generator) -> str:
    """Series UID in the form of LUNA16's, with 30 random digits."""
    return UID_ROOT + _digits(rng, 30)


def draw_signs(rng: np.random.Generator) -> tuple[int, int, int]:
    """Signs of the x, y and z axis directions of one file."""
    return DIRECTIONS[int(rng.choice(len(DIRECTIONS), p=DIRECTION_SHARES))]


def write_metaimage(
    path: Path,
    hu_zyx: NDArray[np.int16],
    *,
    spacing_zyx_mm: tuple[float, float, float],
    origin_xyz_mm: tuple[float, float, float],
    signs_xyz: tuple[int, int, int],
    compressed: bool,
) -> None:
    """Write `path` (.mhd) with its .raw or .zraw; `signs_xyz` of -1 store that axis reversed, at the same place.

    Parameters
    ----------
    path : Path
        The .mhd file; its folder must exist.
    hu_zyx : (Z, Y, X) int16 ndarray
        Scan on canonical axes.
    spacing_zyx_mm, origin_xyz_mm : tuple of float
        Its geometry.
    signs_xyz : tuple of int
        1 or -1 for each world axis.
    compressed : bool
        Whether to write .zraw.
    """
    steps = tuple(slice(None, None, sign) for sign in signs_xyz[::-1])
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(hu_zyx[steps]))
    spacing_xyz = spacing_zyx_mm[::-1]
    origin = [
        start if sign > 0 else start + step * (size - 1)
        for start, step, size, sign in zip(origin_xyz_mm, spacing_xyz, hu_zyx.shape[::-1], signs_xyz, strict=True)
    ]
    image.SetSpacing(spacing_xyz)
    image.SetOrigin(origin)
    image.SetDirection(np.diag(np.asarray(signs_xyz, dtype=float)).ravel().tolist())
    SimpleITK.WriteImage(image, str(path), useCompression=compressed, compressionLevel=1)


def _digits(rng: np.random.Generator, number: int) -> str:
    """Decimal digits without a leading zero, as a UID component must be."""
    return "".join(str(int(d)) for d in np.concatenate([rng.integers(1, 10, 1), rng.integers(0, 10, number - 1)]))
