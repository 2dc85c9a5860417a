"""Paint curved round tubes (vessels, bronchi, clavicles) with partial volume, by counting points in each voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nodules.scans.phantom.anatomy.build import Frame
from nodules.scans.phantom.anatomy.canvas import Array, Canvas

POINTS_PER_VOXEL = 12
CHUNK_POINTS = 100_000  # larger chunks exceed the processor caches: 400,000 points take 1.5 times as long


@dataclass(frozen=True)
class Tubes:
    """Tubes along quadratic Bezier curves in thorax mm.

    Attributes
    ----------
    start, control, end : (N, 3) ndarray
        Bezier points (x, y, z) of each curve.
    start_radius, end_radius : (N,) ndarray
        Radii in mm at both ends, linear in between.
    """

    start: Array
    control: Array
    end: Array
    start_radius: Array
    end_radius: Array

    @classmethod
    def along(cls, points_xyz: Array, radii_mm: ArrayLike) -> Tubes:
        """Return a chain of tubes along points (N, 3), with rounded bends."""
        middles = (points_xyz[1:] + points_xyz[:-1]) / 2
        start = np.concatenate([points_xyz[:1], middles])
        end = np.concatenate([middles, points_xyz[-1:]])
        radii = np.asarray(radii_mm, dtype=np.float32)
        middle_radii = (radii[1:] + radii[:-1]) / 2
        return cls(
            start.astype(np.float32),
            points_xyz.astype(np.float32),
            end.astype(np.float32),
            np.concatenate([radii[:1], middle_radii]),
            np.concatenate([middle_radii, radii[-1:]]),
        )

    @classmethod
    def through(cls, frame: Frame, path: Sequence[tuple[float, float, float, float]]) -> Tubes:
        """Return a chain of tubes along points given in reference mm as (x, y, z, radius)."""
        table = np.array(path, dtype=np.float32)
        return cls.along(frame.to_thorax(table[:, :3]), table[:, 3] * np.float32(frame.build.scale))

    @classmethod
    def joined(cls, parts: Sequence[Tubes]) -> Tubes:
        """Return all tubes of several sets as one set."""
        names = ("start", "control", "end", "start_radius", "end_radius")
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))

    def moved(self, offset_xyz: Array) -> Tubes:
        """Return the tubes shifted by an offset in mm."""
        start, control, end = (points + offset_xyz for points in (self.start, self.control, self.end))
        return Tubes(start, control, end, self.start_radius, self.end_radius)

    def widened(self, factor: float, offset_mm: float) -> Tubes:
        """Return the same curves with radii times `factor` plus `offset_mm`, at least 0."""
        return Tubes(
            self.start,
            self.control,
            self.end,
            np.maximum(self.start_radius * np.float32(factor) + np.float32(offset_mm), 0),
            np.maximum(self.end_radius * np.float32(factor) + np.float32(offset_mm), 0),
        )


@dataclass(frozen=True)
class TubeShares:
    """The voxels that tubes reach, by ascending flat index, and the filled share of each."""

    canvas: Canvas
    voxels: NDArray[np.intp]
    shares: Array

    def paint(self, view: Array, k: int, hu: float) -> None:
        """Paint the tubes on slice `k`."""
        size = view.size
        part = slice(*np.searchsorted(self.voxels, [k * size, (k + 1) * size]))
        flat, place = view.reshape(-1), self.voxels[part] - k * size
        flat[place] += self.shares[part] * (hu - flat[place])


def tube_shares(canvas: Canvas, tubes: Tubes, rng: np.random.Generator) -> TubeShares:
    """Return the filled share of every voxel that the tubes reach."""
    counts = tube_counts(canvas, tubes, rng).reshape(-1)
    voxels = np.flatnonzero(counts > 0)  # on booleans, which is twice as fast
    return TubeShares(canvas, voxels, np.minimum(counts[voxels] / np.float32(POINTS_PER_VOXEL), 1))


def tube_counts(canvas: Canvas, tubes: Tubes, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Count the points of all tubes in each voxel (Z, Y, X); `POINTS_PER_VOXEL` points fill a voxel."""
    counts = np.zeros(int(np.prod(canvas.shape_zyx)), dtype=np.uint16)
    length = np.linalg.norm(tubes.control - tubes.start, axis=1) + np.linalg.norm(tubes.end - tubes.control, axis=1)
    section = np.pi / 3 * (tubes.start_radius**2 + tubes.start_radius * tubes.end_radius + tubes.end_radius**2)
    wanted = length * section * POINTS_PER_VOXEL / float(np.prod(canvas.spacing_zyx_mm))
    numbers = np.floor(wanted + rng.random(len(wanted))).astype(np.intp)
    groups = np.cumsum(numbers) // CHUNK_POINTS
    for group in np.unique(groups):
        members = np.flatnonzero((groups == group) & (numbers > 0))
        if len(members):
            np.add.at(counts, _voxels(canvas, tubes, members, numbers[members]), np.uint16(1))
    return counts.reshape(canvas.shape_zyx)


def _voxels(canvas: Canvas, tubes: Tubes, members: NDArray[np.intp], numbers: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the flat voxel indices of evenly spread points in the tubes `members`."""
    start, control, end = (v[members] for v in (tubes.start, tubes.control, tubes.end))
    r0, r1 = tubes.start_radius[members], tubes.end_radius[members]
    side, up = _cross_axes(end - start)
    owner = np.repeat(np.arange(len(members)), numbers)
    step = np.arange(len(owner), dtype=np.float32) - np.repeat(np.cumsum(numbers) - numbers, numbers).astype(np.float32)
    t = (step + np.float32(0.5)) / numbers[owner].astype(np.float32)
    radius = (r0[owner] + t * (r1 - r0)[owner]) * np.sqrt((step * np.float32(0.754877)) % 1)
    angle = (step * np.float32(0.569840)) % 1 * np.float32(2 * np.pi)
    across, along = radius * np.cos(angle), radius * np.sin(angle)
    flat, valid = np.zeros(len(owner), dtype=np.int64), np.ones(len(owner), dtype=bool)
    for axis, size, spacing in zip((2, 1, 0), canvas.shape_zyx, canvas.spacing_zyx_mm, strict=True):
        a = start[:, axis]
        b, c = 2 * (control[:, axis] - a), a - 2 * control[:, axis] + end[:, axis]
        place = a[owner] + t * (b[owner] + t * c[owner]) + across * side[owner, axis] + along * up[owner, axis]
        cell = np.rint((place - canvas.corner_xyz_mm[axis]) / spacing).astype(np.int64)
        valid &= (cell >= 0) & (cell < size)
        flat = flat * size + cell
    return flat[valid]


def _cross_axes(direction: Array) -> tuple[Array, Array]:
    """Return two unit vectors perpendicular to each direction (N, 3)."""
    along = direction / np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-6)
    helper = np.where(
        np.abs(along[:, 2:3]) < 0.8, np.array([[0, 0, 1]], dtype=np.float32), np.array([[1, 0, 0]], dtype=np.float32)
    )
    side = np.cross(along, helper)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-6)
    return side.astype(np.float32), np.cross(along, side).astype(np.float32)
