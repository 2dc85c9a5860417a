"""Read nodules cut out of LIDC-IDRI scans: one PNG per nodule with the cube around it and its mask, and `cubes.csv`.

Each PNG holds `size_z` slices of `size_y` x `size_x` pixels, one below the other: first the scan, then the mask.

The table does not state the direction of the axes. In some LUNA16 scans x and y run against the world's axes. A series
counts as such if the annotation of one of its cubes lies inside that cube only then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from nodules.imaging.geometry.reorient import canonical_axes
from nodules.imaging.geometry.resample import nearest_voxels
from nodules.imaging.geometry.spheres import ball_diameter_mm
from nodules.imaging.geometry.volume import AIR_HU, Volume
from nodules.scans.lidc.xml_file import CHARACTERISTICS
from nodules.scans.result import ScanError
from nodules.scans.tables.luna import NoduleAnnotation
from nodules.scans.tables.table import read_table

TABLE = "cubes.csv"
HU_PER_GREY = 1400 / 255

_SIZES = ["size_z", "size_y", "size_x"]
_SPACINGS = ["spacing_z", "spacing_y", "spacing_x"]
_ORIGIN = ["x", "y", "z"]
_ANNOTATION = ["luna_x", "luna_y", "luna_z", "luna_diameter_mm"]
_GIVEN = [*_SIZES, *_SPACINGS, *_ORIGIN, "volume_mm3", "readers"]
_POSITIVE = [*_SIZES, *_SPACINGS, "volume_mm3", "readers"]
_MAY_BE_EMPTY = ["subset", *_ANNOTATION, *CHARACTERISTICS]
_FORWARD = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_REVERSED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises for a damaged PNG


@dataclass(frozen=True)
class NoduleCube:
    """One row of `cubes.csv`.

    Attributes
    ----------
    file : Path
        The PNG.
    patient, seriesuid : str
        Of the scan from which the cube was cut.
    subset : int or None
        LUNA16 subset of the scan, where it is known.
    shape_zyx : tuple of int
        Number of voxels.
    spacing_zyx_mm, origin_xyz_mm, direction_xyz : tuple of float
        Grid of the stored voxels in the scan's world, as in `Volume`.
    annotation : NoduleAnnotation or None
        The same nodule in LUNA16's `annotations.csv`. The others are nodules that at least two readers outlined.
    volume_mm3 : float
        Of the nodule.
    readers : int
        Number of readers who outlined it.
    scores : mapping of str to float
        Mean rating for each of `CHARACTERISTICS`; NaN where the table has none.
    """

    file: Path
    patient: str
    seriesuid: str
    subset: int | None
    shape_zyx: tuple[int, int, int]
    spacing_zyx_mm: tuple[float, float, float]
    origin_xyz_mm: tuple[float, float, float]
    direction_xyz: tuple[float, ...]
    annotation: NoduleAnnotation | None
    volume_mm3: float
    readers: int
    scores: Mapping[str, float]

    @property
    def diameter_mm(self) -> float:
        """LUNA16's diameter; without an annotation, the diameter of a ball of the same volume."""
        return self.annotation.diameter_mm if self.annotation else ball_diameter_mm(self.volume_mm3)


def read_cube_table(folder: Path) -> list[NoduleCube]:
    """Read `cubes.csv` of a folder.

    Returns
    -------
    list of NoduleCube
        In file order, at least one.

    Raises
    ------
    ScanError
        If the table or a column is missing, there are no rows, a number is missing or out of range, an annotation lies
        outside its cube, or a PNG does not exist or is listed twice.
    """
    csv = folder / TABLE
    columns = ["file", "seriesuid", *_GIVEN, *_MAY_BE_EMPTY]
    table = read_table(csv, "patient", columns, "expected the table of a folder of nodule cubes")
    if table.empty:
        raise ScanError(f"{csv}: lists no cube")
    if table["file"].duplicated().any():
        raise ScanError(f"{csv}: {table['file'][table['file'].duplicated()].iloc[0]} is listed twice; keep one row")
    numbers = table[[*_GIVEN, *_MAY_BE_EMPTY]].apply(pd.to_numeric, errors="coerce").astype(float)
    _refuse_bad_rows(table, numbers, csv)
    names = table[["file", "patient", "seriesuid"]].astype(str)
    only_reversed = _annotated_inside(numbers, _REVERSED) & ~_annotated_inside(numbers, _FORWARD)
    turned = set(names["seriesuid"][only_reversed])
    return [
        _cube(folder, name, row, _REVERSED if name["seriesuid"] in turned else _FORWARD)
        for name, row in zip(names.to_dict("records"), numbers.to_dict("records"), strict=True)
    ]


def read_cube(cube: NoduleCube) -> tuple[Volume, NDArray[np.bool_]]:
    """Read one cube and the mask of its nodule.

    Returns
    -------
    Volume
        int16 HU on canonical axes; z ascends.
    (Z, Y, X) ndarray of bool
        Mask on the same grid. It may be empty: resampling can lose a very small nodule.

    Raises
    ------
    ScanError
        If the PNG is missing or damaged, or does not hold a grey picture of the size that the table states.
    """
    z, y, x = cube.shape_zyx
    wanted = (x, 2 * z * y)
    try:
        with Image.open(cube.file, formats=("PNG",)) as image:
            if (image.mode, image.size) != ("L", wanted):
                raise ScanError(
                    f"{cube.file}: expected {wanted[0]} x {wanted[1]} pixels of 8-bit grey, as {TABLE} states, got "
                    f"{image.size[0]} x {image.size[1]} of mode {image.mode}"
                )
            grey = np.asarray(image).reshape(2, z, y, x)
    except ScanError:
        raise
    except _UNREADABLE as error:
        raise ScanError(f"{cube.file}: cannot be read as a PNG: {error}; get the file again") from error
    if not np.isin(grey[1], (0, 255)).all():
        raise ScanError(f"{cube.file}: the lower half is no mask: it holds values other than 0 and 255")
    hu = np.rint(grey[0] * HU_PER_GREY + AIR_HU).astype(np.int16)
    scan, mask = (
        canonical_axes(Volume(voxels, cube.spacing_zyx_mm, cube.origin_xyz_mm, cube.direction_xyz))
        for voxels in (hu, grey[1] > 0)
    )
    return scan, mask.voxels_zyx


def by_series(cubes: Iterable[NoduleCube]) -> dict[str, list[NoduleCube]]:
    """Group cubes by the series UID of their scan; both keep their order."""
    found: dict[str, list[NoduleCube]] = {}
    for cube in cubes:
        found.setdefault(cube.seriesuid, []).append(cube)
    return found


def other_nodules(cube: NoduleCube, cubes: Sequence[NoduleCube], scan: Volume) -> NDArray[np.bool_]:
    """Mark what belongs to other listed nodules of the same series.

    Parameters
    ----------
    cube : NoduleCube
        The cube to mark.
    cubes : sequence of NoduleCube
        All cubes of the folder.
    scan : Volume
        The cube's own grid, as `read_cube` returns it; its voxels are not used.

    Returns
    -------
    (Z, Y, X) ndarray of bool

    Raises
    ------
    ScanError
        As `read_cube`.
    """
    marked = np.zeros(scan.shape_zyx, dtype=bool)
    for other in cubes:
        if other.seriesuid != cube.seriesuid or other.file == cube.file:
            continue
        grid, mask = read_cube(other)
        inside, nearest = nearest_voxels(grid, scan)
        marked[inside] |= mask[tuple(nearest.T)]
    return marked


def _refuse_bad_rows(table: pd.DataFrame, numbers: pd.DataFrame, csv: Path) -> None:
    annotated = numbers[_ANNOTATION].notna()
    inside = _annotated_inside(numbers, _FORWARD) | _annotated_inside(numbers, _REVERSED)
    for bad, message in (
        (table[["file", "patient", "seriesuid"]].isna().any(axis=1), "file, patient and seriesuid must not be empty"),
        (numbers[_GIVEN].isna().any(axis=1), f"expected a number for each of {', '.join(_GIVEN)}"),
        ((numbers.isna() & table[numbers.columns].notna()).any(axis=1), "expected a number or nothing, got text"),
        (np.isinf(numbers).any(axis=1), "numbers must be finite"),
        (~(numbers[_POSITIVE] > 0).all(axis=1), f"{', '.join(_POSITIVE)} must be positive"),
        ((numbers[[*_SIZES, "readers"]] % 1 != 0).any(axis=1), "sizes and readers must be whole numbers"),
        (annotated.any(axis=1) & ~annotated.all(axis=1), f"{', '.join(_ANNOTATION)} must all be given or none"),
        (numbers["luna_diameter_mm"] <= 0, "luna_diameter_mm must be positive"),
        (annotated.all(axis=1) & ~inside, "the annotation lies outside the cube; both must be world mm (LPS)"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise ScanError(f"{csv}, line {row + 2} ({table['file'].iloc[row]}): {message}")


def _annotated_inside(numbers: pd.DataFrame, direction_xyz: tuple[float, ...]) -> NDArray[np.bool_]:
    """Tell for each row whether the annotation lies in the cube, for axes of this direction."""
    signs = np.reshape(direction_xyz, (3, 3)).diagonal()
    offset = (numbers[_ANNOTATION[:3]].to_numpy() - numbers[_ORIGIN].to_numpy()) * signs
    voxel = offset[:, ::-1] / numbers[_SPACINGS].to_numpy()
    inside: NDArray[np.bool_] = ((voxel >= -0.5) & (voxel <= numbers[_SIZES].to_numpy() - 0.5)).all(axis=1)
    return inside


def _cube(
    folder: Path, names: Mapping[Any, str], numbers: Mapping[Any, float], direction_xyz: tuple[float, ...]
) -> NoduleCube:
    file = folder / names["file"]
    if not file.is_file():
        raise ScanError(f"{file}: no such file, but {TABLE} lists it")
    size_z, size_y, size_x = (int(numbers[name]) for name in _SIZES)
    spacing_z, spacing_y, spacing_x = (numbers[name] for name in _SPACINGS)
    x, y, z = (numbers[name] for name in _ORIGIN)
    luna_x, luna_y, luna_z, luna_mm = (numbers[name] for name in _ANNOTATION)
    annotation = NoduleAnnotation(names["seriesuid"], (luna_x, luna_y, luna_z), luna_mm)
    return NoduleCube(
        file=file,
        patient=names["patient"],
        seriesuid=names["seriesuid"],
        subset=None if np.isnan(numbers["subset"]) else int(numbers["subset"]),
        shape_zyx=(size_z, size_y, size_x),
        spacing_zyx_mm=(spacing_z, spacing_y, spacing_x),
        origin_xyz_mm=(x, y, z),
        direction_xyz=direction_xyz,
        annotation=None if np.isnan(luna_mm) else annotation,
        volume_mm3=numbers["volume_mm3"],
        readers=int(numbers["readers"]),
        scores={name: numbers[name] for name in CHARACTERISTICS},
    )
