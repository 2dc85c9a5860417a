"""Draw the build of one patient, and the frame of reference coordinates in which all organs are described."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodules.scans.phantom.anatomy.canvas import Array, Canvas, cubic_matrix

LUNG_WIDTH_MM = 260.0  # width of both lungs in the reference thorax; all organs are described at this size
APEX_MM, RECESS_MM = 84.0, -148.0  # reference heights of the top of the lungs and of the deepest recess
WARP_STEP_MM = 65.0
LARGEST_SHARE_OF_FIELD = 0.86  # a person too wide for the field of view is made smaller


@dataclass(frozen=True)
class Build:
    """Random build of one patient; lengths in reference mm unless the name says otherwise."""

    scale: float  # thorax mm per reference mm
    half_depth: float
    depth_factor: float  # flat or deep chest
    apex: float
    dome_right: float
    dome_left: float
    fat: float
    muscle: float
    breast: float  # 0 for none
    heart: float  # factor on the size of the heart
    kyphosis: float
    rib_phase: float
    rib_fall: float
    contrast_hu: float  # added to unenhanced blood; 0 without contrast agent
    lung_hu: float
    gravity_hu: float
    emphysema: float  # share of destroyed lung at the top, 0 for none
    vascularity: float  # factor on the calibre of lung vessels
    couch_gap_mm: float
    offset_xyz_mm: tuple[float, float, float]


def draw_build(rng: np.random.Generator, *, field_mm: float, emphysema: bool) -> Build:
    """Draw a build whose lungs fit a field of view of `field_mm`."""
    lung_width_mm = min(rng.normal(262, 18), LARGEST_SHARE_OF_FIELD * field_mm)
    contrast = rng.random() < 0.35
    return Build(
        scale=lung_width_mm / LUNG_WIDTH_MM,
        half_depth=rng.uniform(88, 94),
        depth_factor=rng.uniform(0.95, 1.14),
        apex=APEX_MM + rng.uniform(-6, 4),
        dome_right=rng.uniform(-108, -88),
        dome_left=rng.uniform(-118, -98),
        fat=float(np.clip(rng.lognormal(2.35, 0.5), 4, 32)),
        muscle=rng.uniform(0.75, 1.3),
        breast=rng.uniform(0.6, 1.2) if rng.random() < 0.4 else 0.0,
        heart=rng.uniform(0.92, 1.12),
        kyphosis=rng.uniform(8, 24),
        rib_phase=rng.uniform(0, 1),
        rib_fall=rng.uniform(105, 135),
        contrast_hu=rng.uniform(90, 230) if contrast else 0.0,
        lung_hu=rng.uniform(-898, -830) - (25 if emphysema else 0),
        gravity_hu=rng.uniform(25, 65),
        emphysema=rng.uniform(0.12, 0.45) if emphysema else 0.0,
        vascularity=rng.uniform(0.86, 1.16),
        couch_gap_mm=rng.uniform(1, 6),
        offset_xyz_mm=(rng.normal(0, 4), rng.normal(0, 5), 0.0),
    )


@dataclass(frozen=True)
class Frame:
    """Reference coordinates of every coarse cell (Z, Y, X) of a canvas: scaled, shifted and gently warped."""

    canvas: Canvas
    build: Build
    x: Array
    y: Array
    z: Array

    @classmethod
    def warped(cls, canvas: Canvas, build: Build, rng: np.random.Generator) -> Frame:
        """Scale the thorax to the patient and warp it by a smooth random displacement of a few mm."""
        axes = canvas.coarse_axes_mm
        starts = [axis[0] for axis in axes]
        knots = [
            np.arange(a0 - 2 * WARP_STEP_MM, axis[-1] + 2 * WARP_STEP_MM, WARP_STEP_MM, dtype=np.float32)
            for a0, axis in zip(starts, axes, strict=True)
        ]
        matrices = [cubic_matrix(axis, k) for axis, k in zip(axes, knots, strict=True)]
        reference = []
        factors = (1.0, build.depth_factor, 1.0)
        for coordinate, shift, factor, amplitude_mm in zip(
            canvas.coarse_mesh_xyz, build.offset_xyz_mm, factors, (2.6, 2.6, 4.0), strict=True
        ):
            noise = amplitude_mm * rng.standard_normal([len(k) for k in knots], dtype=np.float32)
            bend = _spread(noise, matrices)
            reference.append((coordinate - np.float32(shift) + bend) / np.float32(build.scale * factor))
        return cls(canvas, build, *reference)

    def to_thorax(self, reference_xyz: NDArray[np.floating]) -> Array:
        """Return the thorax mm (N, 3) of reference points (N, 3), by fixed-point iteration on the warp."""
        wanted = np.asarray(reference_xyz, dtype=np.float32)
        guess = wanted * np.float32(self.build.scale)
        scale = np.float32(self.build.scale)
        low = np.array([axis[0] for axis in self.canvas.coarse_axes_mm[::-1]], dtype=np.float32)
        high = np.array([axis[-1] for axis in self.canvas.coarse_axes_mm[::-1]], dtype=np.float32)
        for _ in range(4):
            inside = np.clip(guess, low, high)
            here = np.stack([self.canvas.coarse_values(c, inside) for c in (self.x, self.y, self.z)], axis=-1)
            guess = guess + scale * (wanted - here) - (guess - inside)
        return guess


def spine_y(build: Build, z: NDArray[np.floating] | float) -> Array:
    """Return the reference y of the spine's axis at reference height `z`; kyphosis bends it forward at both ends."""
    return np.asarray(59 - build.kyphosis * ((np.asarray(z) + 35) / 115) ** 2, dtype=np.float32)


def random_field(frame: Frame, step_mm: float, rng: np.random.Generator) -> Array:
    """Draw a smooth random coarse field (Z, Y, X) of mean 0, SD about 1 and grain size `step_mm`."""
    matrices = []
    for axis in frame.canvas.coarse_axes_mm:
        knots = np.arange(axis[0] - 2 * step_mm, axis[-1] + 2 * step_mm, step_mm, dtype=np.float32)
        matrices.append(cubic_matrix(axis, knots))
    noise = rng.standard_normal([m.shape[1] for m in matrices], dtype=np.float32)
    return np.float32(1.9) * _spread(noise, matrices)


def _spread(values: Array, matrices: list[Array]) -> Array:
    first, second, third = matrices
    along_z = np.tensordot(first, values, axes=(1, 0))
    return (second @ along_z @ third.T).astype(np.float32)
