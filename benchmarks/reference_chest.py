"""The lobes of one synthetic chest: positions for nodules of patients whose scans are not rendered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodules.scans.phantom.anatomy.abdomen import build_abdomen
from nodules.scans.phantom.anatomy.build import APEX_MM, LUNG_WIDTH_MM, RECESS_MM, Frame, draw_build
from nodules.scans.phantom.anatomy.canvas import COARSE_STEP_MM, Array, Canvas
from nodules.scans.phantom.anatomy.lungs import SIDES, Lungs, build_lungs, lobe_at
from nodules.scans.phantom.anatomy.mediastinum import build_mediastinum
from nodules.scans.phantom.anatomy.thorax import build_wall
from nodules.scans.phantom.nodules import LOBES, Nodule

SEED = 2017
FIELD_MM, MARGIN_MM = 400.0, 16.0
CLEAR_MM = {"isolated": 2.5, "vessel": 1.0}  # lung between a nodule and the pleura, as nodules are placed in images
EMBEDDED = 0.85  # of the radius of a nodule on the pleura lies under it


@dataclass(frozen=True)
class LungPlaces:
    """Points of one lobe, each array (N,).

    Attributes
    ----------
    relative_height, relative_y, relative_x : ndarray
        Place in the box of both lungs, as in `Candidates.table`.
    depth_mm : ndarray
        Distance to the surface of the lung.
    """

    relative_height: NDArray[np.float64]
    relative_y: NDArray[np.float64]
    relative_x: NDArray[np.float64]
    depth_mm: NDArray[np.float64]

    def place(self, nodule: Nodule, rng: np.random.Generator) -> dict[str, float]:
        """Draw a place for a nodule: the position columns of `Candidates.table`.

        A lobe too narrow for it gives its deepest place.
        """
        radius_mm = nodule.diameter_mm / 2
        if nodule.attachment == "pleura":
            free = np.flatnonzero(np.abs(self.depth_mm - EMBEDDED * radius_mm) < COARSE_STEP_MM / 2)
        else:
            free = np.flatnonzero(self.depth_mm > radius_mm + CLEAR_MM[nodule.attachment])
        chosen = int(rng.choice(free)) if len(free) else int(self.depth_mm.argmax())
        return {
            "relative_height": float(self.relative_height[chosen]),
            "relative_y": float(self.relative_y[chosen]),
            "relative_x": float(self.relative_x[chosen]),
            "pleura_mm": max(0.0, float(self.depth_mm[chosen]) - radius_mm),
        }


@dataclass(frozen=True)
class ReferenceChest:
    """The lungs of one chest.

    Attributes
    ----------
    lobes : dict
        Places by lobe.
    litres : dict of str to float
        Volume of the right and of the left lung at the reference size.
    """

    lobes: dict[str, LungPlaces]
    litres: dict[str, float]


def build_chest() -> ReferenceChest:
    """Build the chest; always the same one."""
    lungs = _lungs()
    inside = {side: lungs.outline_mm[side] < 0 for side in SIDES}
    cells = np.argwhere(inside["right"] | inside["left"])
    first, extent = cells.min(axis=0), np.ptp(cells, axis=0)
    lobes = {}
    for side in SIDES:
        of_side = np.argwhere(inside[side])
        names = np.array(lobe_at(lungs, side, _points(lungs, of_side)))
        height, y, x = ((of_side - first) / extent).T
        depth_mm = -lungs.outline_mm[side][tuple(of_side.T)].astype(float)
        for lobe in (lobe for lobe in LOBES if lobe.startswith(side)):
            mine = names == lobe
            lobes[lobe] = LungPlaces(height[mine], y[mine], x[mine], depth_mm[mine])
    size = COARSE_STEP_MM**3 / 1e6 / lungs.frame.build.scale**3 / lungs.frame.build.depth_factor
    return ReferenceChest(lobes, {side: float(np.count_nonzero(inside[side]) * size) for side in SIDES})


def _lungs() -> Lungs:
    rng = np.random.default_rng(SEED)
    build = draw_build(rng, field_mm=FIELD_MM, emphysema=False)
    low, high = RECESS_MM * build.scale - MARGIN_MM, APEX_MM * build.scale + MARGIN_MM
    half = (1.2 * LUNG_WIDTH_MM * build.scale) / 2
    shape = tuple(int(extent / COARSE_STEP_MM) for extent in (high - low, 2 * half, 2 * half))
    step = (COARSE_STEP_MM,) * 3
    canvas = Canvas((shape[0], shape[1], shape[2]), step, (-half, -half, low))
    frame = Frame.warped(canvas, build, rng)
    wall = build_wall(frame, rng)
    organs = build_mediastinum(frame, wall)
    return build_lungs(frame, wall, organs, build_abdomen(frame, wall, rng), rng)


def _points(lungs: Lungs, cells_zyx: NDArray[np.int64]) -> Array:
    """Thorax points (N, 3) x, y, z of coarse cells."""
    axes = lungs.frame.canvas.coarse_axes_mm
    return np.stack([axis[cells_zyx[:, i]] for i, axis in enumerate(axes)][::-1], axis=-1).astype(np.float32)
