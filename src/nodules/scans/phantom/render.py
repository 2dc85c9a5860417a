"""Render one synthetic chest: anatomy, vessels, nodules and scanner."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nodules.scans.phantom.anatomy.abdomen import build_abdomen, paint_abdomen
from nodules.scans.phantom.anatomy.build import APEX_MM, RECESS_MM, Build, Frame, draw_build
from nodules.scans.phantom.anatomy.canvas import Array, Canvas, filled
from nodules.scans.phantom.anatomy.lungs import Lungs, Texture, build_lungs, paint_lungs
from nodules.scans.phantom.anatomy.mediastinum import build_mediastinum, paint_mediastinum
from nodules.scans.phantom.anatomy.skeleton import CORTEX_HU, MARROW_HU, build_skeleton, clavicles, paint_skeleton
from nodules.scans.phantom.anatomy.thorax import Wall, build_wall, paint_wall
from nodules.scans.phantom.anatomy.tubes import tube_shares
from nodules.scans.phantom.anatomy.vessels import Vessels, grow_vessels, lung_points
from nodules.scans.phantom.nodule_shapes import Body, paint_nodules, shape_nodule
from nodules.scans.phantom.patient import LAYOUT_CODES, Layout, PhantomParams, Truth, draw_truth, stream
from nodules.scans.phantom.placement import place_nodules
from nodules.scans.phantom.scanner import HIGHEST_HU, LOWEST_HU, Detector, Scanner, draw_scanner, paint_couch

MARGIN_MM = (8.0, 16.0)  # above and below the lungs: neck and abdomen
WALL_HU, LUMEN_HU, BLOOD_HU = 20.0, -995.0, 42.0
FALSE_CANDIDATES = 24


@dataclass(frozen=True)
class Rendered:
    """A rendered scan on canonical axes, without padding.

    Attributes
    ----------
    hu_zyx : (Z, Y, X) int16 ndarray
        CT numbers.
    truth : Truth
        Nodules with their world positions, risk and label.
    scanner : Scanner
        Geometry and image quality of the scan.
    origin_xyz_mm : tuple of float
        World position of voxel (0, 0, 0).
    false_points_xyz : (N, 3) ndarray
        World points in the lungs away from nodules, mostly where vessels branch.
    """

    hu_zyx: NDArray[np.int16]
    truth: Truth
    scanner: Scanner
    origin_xyz_mm: tuple[float, float, float]
    false_points_xyz: Array


def render_patient(index: int, layout: Layout, params: PhantomParams) -> Rendered:
    """Draw and render one patient; the result depends only on the arguments."""
    if layout not in LAYOUT_CODES:
        raise ValueError(f"layout must be one of {list(LAYOUT_CODES)}, got {layout!r}")
    streams = {
        name: stream(name, index, layout, params)
        for name in ("anatomy", "placement", "vessels", "texture", "scanner", "candidates")
    }
    truth = draw_truth(index, layout, params)
    scanner = draw_scanner(streams["scanner"], params)
    build = draw_build(
        streams["anatomy"], field_mm=params.grid_px * scanner.spacing_zyx_mm[1], emphysema=truth.emphysema
    )
    canvas = _canvas(build, scanner, params.grid_px)
    shift = _world_shift(streams["scanner"])
    image, lungs, vessels, wall = _paint_chest(canvas, build, scanner, streams)
    places = place_nodules(truth.nodules, lungs, vessels, streams["placement"])
    bodies = [
        shape_nodule(nodule, place.centre_xyz, streams["placement"])
        for nodule, place in zip(truth.nodules, places, strict=True)
    ]
    paint_nodules(image, canvas, bodies, streams["placement"])
    hu = _expose(image, canvas, wall, scanner, build, streams["scanner"])
    placed = tuple(
        replace(nodule, attachment=place.attachment, centre_world_xyz=_world(place.centre_xyz, shift))
        for nodule, place in zip(truth.nodules, places, strict=True)
    )
    return Rendered(
        hu_zyx=hu,
        truth=replace(truth, nodules=placed),
        scanner=scanner,
        origin_xyz_mm=_world(np.asarray(canvas.corner_xyz_mm), shift),
        false_points_xyz=_false_points(lungs, vessels, bodies, streams["candidates"])
        + np.asarray(shift, dtype=np.float32),
    )


def _canvas(build: Build, scanner: Scanner, grid_px: int) -> Canvas:
    """Return the grid around the thorax: the whole field of view in-plane, the lungs and a margin along z."""
    dz, dy, dx = scanner.spacing_zyx_mm
    low = RECESS_MM * build.scale - MARGIN_MM[1]
    high = APEX_MM * build.scale + MARGIN_MM[0]
    slices = max(8, int(np.ceil((high - low) / dz)))
    half = (grid_px - 1) / 2
    centre_y = 2.0 * build.scale
    return Canvas((slices, grid_px, grid_px), (dz, dy, dx), (-half * dx, centre_y - half * dy, low))


def _paint_chest(
    canvas: Canvas, build: Build, scanner: Scanner, streams: dict[str, np.random.Generator]
) -> tuple[Array, Lungs, Vessels, Wall]:
    """Paint everything except nodules and scanner; return float32 HU (Z, Y, X) and the anatomy."""
    rng = streams["anatomy"]
    frame = Frame.warped(canvas, build, rng)
    wall = build_wall(frame, rng)
    bones = build_skeleton(frame, wall, rng)
    organs = build_mediastinum(frame, wall)
    abdomen = build_abdomen(frame, wall, rng)
    lungs = build_lungs(frame, wall, organs, abdomen, rng)
    vessels = grow_vessels(lungs, streams["vessels"])
    collarbones = clavicles(frame)
    tubes = [
        (tube_shares(canvas, tube, streams["vessels"]), hu)
        for tube, hu in (
            (collarbones, CORTEX_HU),
            (collarbones.widened(1, -1.8), MARROW_HU),
            (vessels.blood, BLOOD_HU + build.contrast_hu),
            (vessels.airway_outside, WALL_HU),
            (vessels.airway, LUMEN_HU),
        )
    ]
    texture = Texture(frame, streams["texture"])
    back_mm = _back_mm(wall) + build.couch_gap_mm
    image = np.full(canvas.shape_zyx, -1000.0, dtype=np.float32)
    for k, view in enumerate(image):
        grain = texture.next()
        cavity_mm = paint_wall(view, wall, k)
        inside = filled(cavity_mm / canvas.spacing_zyx_mm[1])
        paint_mediastinum(view, organs, wall, k, inside, grain)
        paint_abdomen(view, abdomen, wall, k, grain)
        paint_skeleton(view, bones, k, cavity_mm, grain)
        paint_lungs(view, lungs, k, grain)
        for shares, hu in tubes:
            shares.paint(view, k, hu)
        if scanner.couch:
            paint_couch(view, canvas, back_mm)
    return image, lungs, vessels, wall


def _expose(
    image: Array, canvas: Canvas, wall: Wall, scanner: Scanner, build: Build, rng: np.random.Generator
) -> NDArray[np.int16]:
    detector = Detector(scanner, canvas, canvas.smooth_field(wall.body_mm), rng)
    hu = np.empty(canvas.shape_zyx, dtype=np.int16)
    for k, view in enumerate(image):
        height = float(canvas.axes_mm[0][k]) / build.scale
        shoulders = float(np.clip((height - 35) / 40, 0, 1))
        hu[k] = np.clip(np.rint(detector.expose(view, k, shoulders)), LOWEST_HU, HIGHEST_HU)
    return hu


def _back_mm(wall: Wall) -> float:
    """Return the thorax y of the rearmost skin."""
    _, y, _ = wall.frame.canvas.coarse_axes_mm
    rows = np.any(wall.body_mm < 0, axis=(0, 2))
    return float(y[np.flatnonzero(rows)[-1]]) if rows.any() else float(y[-1])


def _world_shift(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw the world position of the thorax, because scanners place their origin anywhere."""
    x, y, z = rng.uniform(-25, 25), rng.uniform(-60, 40), rng.uniform(-420, 180)
    return float(x), float(y), float(z)


def _world(point_xyz: NDArray[np.floating], shift: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = (round(float(p) + s, 4) for p, s in zip(point_xyz, shift, strict=True))
    return x, y, z


def _false_points(lungs: Lungs, vessels: Vessels, bodies: list[Body], rng: np.random.Generator) -> Array:
    """Draw points well away from every nodule: two thirds at vessel branches, the others anywhere in the lungs."""
    large = np.flatnonzero(vessels.branch_radii > 0.8)
    chosen = rng.permutation(large)[: 2 * FALSE_CANDIDATES // 3]
    points = np.concatenate([vessels.branch_points[chosen], lung_points(lungs, rng, FALSE_CANDIDATES // 3)])
    clear = np.ones(len(points), dtype=bool)
    for body in bodies:
        clear &= np.linalg.norm(points - body.centre_xyz, axis=1) > 2 * body.radius_mm + 5
    return points[clear]
