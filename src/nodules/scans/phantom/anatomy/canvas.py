"""The voxel grid on which a phantom is painted, with a coarse grid for smooth organs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

Array = NDArray[np.floating[Any]]
COARSE_STEP_MM = 4.0  # for organs with radii of at least 8 mm; finer parts are painted on the full grid
COARSE_MARGIN_CELLS = 2  # reach of the cubic kernel


@dataclass(frozen=True)
class Canvas:
    """Full grid in the thorax frame (mm, LPS, carina near the origin), and a coarse grid over it.

    Attributes
    ----------
    shape_zyx : tuple of int
        Size of the full grid.
    spacing_zyx_mm : tuple of float
        Voxel size; the slice thickness equals the spacing along z.
    corner_xyz_mm : tuple of float
        Thorax coordinates of the centre of voxel (0, 0, 0).
    """

    shape_zyx: tuple[int, int, int]
    spacing_zyx_mm: tuple[float, float, float]
    corner_xyz_mm: tuple[float, float, float]
    axes_mm: tuple[Array, Array, Array] = field(init=False)  # z, y, x of the full grid
    coarse_axes_mm: tuple[Array, Array, Array] = field(init=False)
    matrices: tuple[Array, Array, Array] = field(init=False)  # full <- coarse along z, y, x

    def __post_init__(self) -> None:
        axes, coarse, matrices = [], [], []
        for n, step, start in zip(self.shape_zyx, self.spacing_zyx_mm, self.corner_xyz_mm[::-1], strict=True):
            axis = np.float32(start) + np.float32(step) * np.arange(n, dtype=np.float32)
            cells = int(np.ceil((axis[-1] - axis[0]) / COARSE_STEP_MM)) + 1 + 2 * COARSE_MARGIN_CELLS
            knots = axis[0] + COARSE_STEP_MM * (np.arange(cells, dtype=np.float32) - COARSE_MARGIN_CELLS)
            axes.append(axis)
            coarse.append(knots)
            matrices.append(cubic_matrix(axis, knots))
        object.__setattr__(self, "axes_mm", tuple(axes))
        object.__setattr__(self, "coarse_axes_mm", tuple(coarse))
        object.__setattr__(self, "matrices", tuple(matrices))

    @property
    def coarse_mesh_xyz(self) -> tuple[Array, Array, Array]:
        """Coarse coordinates x, y, z as arrays that broadcast to (Z, Y, X)."""
        z, y, x = self.coarse_axes_mm
        return x[None, None, :], y[None, :, None], z[:, None, None]

    def smooth_field(self, coarse_zyx: NDArray[np.floating]) -> SmoothField:
        """Turn a coarse array into a field that can be evaluated on any full slice."""
        matrix_z, _, _ = self.matrices
        cells = np.asarray(coarse_zyx, dtype=np.float32)
        flat = matrix_z @ cells.reshape(len(cells), -1)
        return SmoothField(self, flat.reshape(len(matrix_z), *cells.shape[1:]))

    def edge_field(self, signed_zyx: NDArray[np.floating]) -> SmoothField:
        """Turn an implicit surface (negative inside) into a field in units of voxel widths along its normal.

        Dividing by the sum of |derivative| x voxel size gives the exact width over which a plane partly fills a
        box-shaped voxel: narrow for vertical walls, as wide as the slice for a horizontal diaphragm.
        """
        gz, gy, gx = np.gradient(signed_zyx, COARSE_STEP_MM)
        dz, dy, dx = self.spacing_zyx_mm
        width = np.abs(gz) * dz + np.abs(gy) * dy + np.abs(gx) * dx
        return self.smooth_field(np.clip(signed_zyx / (width + 1e-3), -30.0, 30.0))

    def coarse_values(self, coarse_zyx: NDArray[np.floating], points_xyz: NDArray[np.floating]) -> Array:
        """Interpolate a coarse array trilinearly at thorax points (N, 3); return values (N,)."""
        starts = np.array([axis[0] for axis in self.coarse_axes_mm])
        indices = (points_xyz[:, ::-1] - starts) / COARSE_STEP_MM
        return map_coordinates(coarse_zyx, indices.T, order=1, mode="nearest", output=np.float32)


@dataclass(frozen=True)
class SmoothField:
    """Smooth values on the full grid along z and the coarse grid in-plane: (Z, coarse Y, coarse X)."""

    canvas: Canvas
    cells: Array

    def at(self, k: int) -> Array:
        """Return the values on full slice `k`, shape (Y, X)."""
        _, matrix_y, matrix_x = self.canvas.matrices
        return matrix_y @ self.cells[k] @ matrix_x.T

    def on(self, k: int, box: tuple[slice, slice]) -> Array:
        """Return the values in one box of full slice `k`."""
        _, matrix_y, matrix_x = self.canvas.matrices
        return matrix_y[box[0]] @ self.cells[k] @ matrix_x[box[1]].T

    def near(self, k: int) -> tuple[tuple[slice, slice], Array] | None:
        """Return the box of slice `k` that holds all values below 1, and its values; None without such values."""
        rows, columns = (np.flatnonzero(np.any(self.cells[k] < 1.0, axis=axis)) for axis in (1, 0))
        if not len(rows):
            return None
        _, matrix_y, matrix_x = self.canvas.matrices
        parts = [_reached(matrix, cells) for matrix, cells in ((matrix_y, rows), (matrix_x, columns))]
        (ys, cy), (xs, cx) = parts
        if ys.start >= ys.stop or xs.start >= xs.stop:
            return None
        return (ys, xs), matrix_y[ys, cy] @ self.cells[k][cy, cx] @ matrix_x[xs, cx].T


def _reached(matrix: Array, cells: NDArray[np.intp]) -> tuple[slice, slice]:
    """Return the full-grid range that the cells reach, and the cells needed there."""
    low, high = max(int(cells[0]) - 1, 0), min(int(cells[-1]) + 2, matrix.shape[1])
    hit = np.flatnonzero(np.any(matrix[:, low:high] != 0, axis=1))
    if not len(hit):
        return slice(0, 0), slice(0, 0)
    full = slice(int(hit[0]), int(hit[-1]) + 1)
    used = np.flatnonzero(np.any(matrix[full] != 0, axis=0))
    return full, slice(int(used[0]), int(used[-1]) + 1)


def cubic_matrix(axis: Array, knots: Array) -> Array:
    """Return the matrix (len(axis), len(knots)) of Catmull-Rom weights that interpolates from `knots` to `axis`.

    Source: Keys, "Cubic convolution interpolation for digital image processing", 1981, with a = -1/2.
    """
    distance = np.abs(axis[:, None] - knots[None, :]) / (knots[1] - knots[0])
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0)).astype(np.float32)


def blend(image: Array, occupancy: Array, hu: float | Array) -> None:
    """Paint a tissue in place; where `occupancy` is 1, the image becomes `hu`."""
    image += occupancy * (hu - image)


def filled(edge: Array) -> Array:
    """Return the occupied share of each voxel, from its edge distance in voxel widths."""
    return np.clip(np.float32(0.5) - edge, 0.0, 1.0)


def paint(image: Array, organ: SmoothField, k: int, hu: float) -> None:
    """Paint an organ of uniform density on slice `k`."""
    found = organ.near(k)
    if found is not None:
        box, edge = found
        blend(image[box], filled(edge), hu)


def smooth_union(first: Array, *others: Array, radius_mm: float) -> Array:
    """Return the union of implicit surfaces, with fillets of about `radius_mm` at their joins.

    Source: the polynomial smooth minimum, Quilez, "smooth minimum", 2013.
    """
    result = first
    for other in others:
        overlap = np.maximum(radius_mm - np.abs(result - other), 0) / radius_mm
        result = np.minimum(result, other) - overlap * overlap * (radius_mm / 4)
    return result


def smooth_cut(first: Array, *others: Array, radius_mm: float) -> Array:
    """Return the intersection of implicit surfaces with rounded corners."""
    return -smooth_union(-first, *(-other for other in others), radius_mm=radius_mm)
