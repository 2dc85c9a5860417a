"""Build and paint the lungs: outlines, lobes, fissures, density gradient, texture and emphysema."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nodules.scans.phantom.anatomy.abdomen import Abdomen
from nodules.scans.phantom.anatomy.build import Frame, random_field
from nodules.scans.phantom.anatomy.canvas import Array, SmoothField, blend, cubic_matrix, filled, smooth_cut
from nodules.scans.phantom.anatomy.mediastinum import Mediastinum
from nodules.scans.phantom.anatomy.thorax import Wall

SIDES = ("right", "left")
FISSURE_MM = 0.2
HOLE_HU = -975.0
TEXTURE_STEP_MM = 2.1


@dataclass(frozen=True)
class Lungs:
    """Fields that describe the lungs; `outline_mm`, `oblique_mm` and `minor_mm` are coarse arrays in mm."""

    frame: Frame
    outline_mm: dict[str, Array]  # negative inside
    oblique_mm: Array  # positive in the upper and middle lobes
    minor_mm: Array  # positive above the right minor fissure
    edges: dict[str, SmoothField]
    fissures: dict[str, SmoothField]
    density_hu: SmoothField
    holes: SmoothField
    texture_hu: float


def build_lungs(frame: Frame, wall: Wall, organs: Mediastinum, abdomen: Abdomen, rng: np.random.Generator) -> Lungs:
    """Cut both lungs out of the rib cage and describe their interior on the coarse grid."""
    build, canvas = frame.build, frame.canvas
    gap = 2.2 + 5 * np.clip((np.abs(frame.z + 10) - 40) / 60, 0, 1)
    middle = frame.x - 3 * np.sin(frame.z / 40)
    outline = {
        side: smooth_cut(
            smooth_cut(wall.cavity_mm, -abdomen.diaphragm_mm, radius_mm=4.0),
            smooth_cut(-organs.outline_mm, (gap - sign * middle) * np.float32(build.scale), radius_mm=6.0),
            radius_mm=9.0,  # rounds off slivers too thin for the coarse grid
        )
        for side, sign in (("right", -1), ("left", 1))
    }
    waves = 4 * np.sin(frame.x / 24 + rng.uniform(0, 6)) + 3 * np.sin(frame.y / 30 + rng.uniform(0, 6))
    oblique = ((frame.z + 32) - 1.05 * (frame.y + 10) + waves) * np.float32(0.69 * build.scale)
    minor = (frame.z + 32 - 0.06 * frame.x + 1.5 * waves + 0.0014 * (frame.y + 40) ** 2) * np.float32(build.scale)
    smooth = random_field(frame, 26.0, rng)
    density = build.lung_hu + build.gravity_hu * (frame.y + 5) / 80 - 12 * (frame.z + 30) / 100 + 7 * smooth
    return Lungs(
        frame=frame,
        outline_mm=outline,
        oblique_mm=oblique,
        minor_mm=minor,
        edges={side: canvas.edge_field(outline[side]) for side in SIDES},
        fissures={"oblique": canvas.edge_field(oblique), "minor": canvas.edge_field(minor)},
        density_hu=canvas.smooth_field(density),
        holes=canvas.smooth_field(_emphysema(frame, rng)),
        texture_hu=float(rng.uniform(20, 34)),
    )


def paint_lungs(image: Array, lungs: Lungs, k: int, texture: Array) -> None:
    """Paint both lungs on slice `k`; `texture` (Y, X) has mean 0 and SD 1."""
    for side in SIDES:
        found = lungs.edges[side].near(k)
        if found is None:
            continue
        box, edge = found
        inside = filled(edge)
        hu = lungs.density_hu.on(k, box) + lungs.texture_hu * texture[box]
        if lungs.frame.build.emphysema:
            hole = np.clip(lungs.holes.on(k, box), 0, 0.9)
            hu += hole * (HOLE_HU - hu)
        hu += _fissure_share(lungs, side, k, box) * (0 - hu)
        blend(image[box], inside, hu)


def lobe_at(lungs: Lungs, side: str, points_xyz: Array) -> list[str]:
    """Return the lobe of each thorax point (N, 3) in one lung."""
    upper = lungs.frame.canvas.coarse_values(lungs.oblique_mm, points_xyz) > 0
    top = lungs.frame.canvas.coarse_values(lungs.minor_mm, points_xyz) > 0
    if side == "left":
        return ["left_upper" if u else "left_lower" for u in upper]
    return [("right_upper" if t else "right_middle") if u else "right_lower" for u, t in zip(upper, top, strict=True)]


class Texture:
    """Random in-plane texture of about 2 mm, correlated between thin slices."""

    def __init__(self, frame: Frame, rng: np.random.Generator) -> None:
        _, y, x = frame.canvas.axes_mm
        self._rng = rng
        self._matrices = [
            cubic_matrix(axis, np.arange(axis[0] - 4, axis[-1] + 5, TEXTURE_STEP_MM, dtype=np.float32))
            for axis in (y, x)
        ]
        self._keep = float(np.exp(-frame.canvas.spacing_zyx_mm[0] / TEXTURE_STEP_MM))
        self._cells: Array | None = None

    def next(self) -> Array:
        """Return the texture (Y, X) of the next slice, of mean 0 and SD about 1."""
        rows, columns = self._matrices
        fresh = self._rng.standard_normal((rows.shape[1], columns.shape[1]), dtype=np.float32)
        if self._cells is None:
            self._cells = fresh
        else:
            self._cells = self._keep * self._cells + np.float32(np.sqrt(1 - self._keep**2)) * fresh
        return np.float32(1.35) * (rows @ self._cells @ columns.T)


def _fissure_share(lungs: Lungs, side: str, k: int, box: tuple[slice, slice]) -> Array:
    dz, dy, _ = lungs.frame.canvas.spacing_zyx_mm
    oblique = lungs.fissures["oblique"].on(k, box)
    share = np.maximum(1 - np.abs(oblique), 0) * np.float32(min(0.6, FISSURE_MM / (0.69 * (dz + dy))))
    if side == "right":
        minor = lungs.fissures["minor"].on(k, box)
        share += np.maximum(1 - np.abs(minor), 0) * (oblique > 0) * np.float32(min(0.6, 0.6 * FISSURE_MM / dz))
    return share


def _emphysema(frame: Frame, rng: np.random.Generator) -> Array:
    """Draw emphysema as a coarse share of destroyed lung: round holes of 5-12 mm, more frequent higher up."""
    noise = 0.8 * random_field(frame, 9.0, rng) + 0.6 * random_field(frame, 18.0, rng)
    upward = np.clip((frame.z + 90) / 130, 0.15, 1.2)
    amount = frame.build.emphysema * upward
    return 1.4 * (noise - 1.1 + 2.2 * amount)
