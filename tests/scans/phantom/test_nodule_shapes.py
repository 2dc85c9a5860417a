"""Bodies of nodules: volume, position, ground glass."""

import numpy as np
import pytest

from nodules.scans.phantom.anatomy.canvas import Canvas
from nodules.scans.phantom.nodule_shapes import body_occupancy, paint_nodules, shape_nodule
from nodules.scans.phantom.nodules import SHAPES, Nodule

CANVAS = Canvas((30, 64, 72), (2.0, 0.9, 0.7), (-20.0, -30.0, 5.0))
CENTRE = np.array([4.3, -2.2, 33.1])


def nodule(diameter_mm, kind="solid", shape="round"):
    return Nodule(diameter_mm, kind, shape, "isolated", "left_upper")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("diameter_mm", [5.0, 11.0, 24.0])
def test_equivalent_diameter_of_the_painted_nodule(shape, diameter_mm):
    rng = np.random.default_rng(3)
    image = np.full(CANVAS.shape_zyx, -1000.0, dtype=np.float32)
    body = shape_nodule(nodule(diameter_mm, shape=shape), CENTRE, rng)
    paint_nodules(image, CANVAS, [body], rng)
    share = (image + 1000) / (body.hu + 1000)
    volume_mm3 = share.sum() * 2.0 * 0.9 * 0.7
    assert (6 * volume_mm3 / np.pi) ** (1 / 3) == pytest.approx(diameter_mm, rel=0.1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", [5, 6, 7, 8])
def test_the_middle_of_a_body_is_where_it_is_annotated(shape, seed):
    body = shape_nodule(nodule(14.0, shape=shape), CENTRE, np.random.default_rng(seed))
    box, outer, _ = body_occupancy(CANVAS, body)
    axes = [axis[part] for axis, part in zip(CANVAS.axes_mm, box, strict=True)]
    weights = outer / outer.sum()
    centroid_zyx = [(weights * g).sum() for g in np.meshgrid(*axes, indexing="ij")]
    assert np.allclose(centroid_zyx[::-1], CENTRE, atol=0.1)


def test_part_solid_has_a_smaller_core_and_solid_is_all_core():
    rng = np.random.default_rng(1)
    _, outer, core = body_occupancy(CANVAS, shape_nodule(nodule(16.0, "part_solid"), CENTRE, rng))
    assert 0.05 < core.sum() / outer.sum() < 0.4
    _, outer, core = body_occupancy(CANVAS, shape_nodule(nodule(16.0), CENTRE, rng))
    assert np.array_equal(outer, core)


def test_vessel_stays_visible_through_ground_glass():
    image = np.full(CANVAS.shape_zyx, 40.0, dtype=np.float32)
    paint_nodules(
        image,
        CANVAS,
        [shape_nodule(nodule(16.0, "ground_glass"), CENTRE, np.random.default_rng(1))],
        np.random.default_rng(2),
    )
    assert np.all(image == 40.0)


def test_body_off_the_grid_is_no_error():
    far = shape_nodule(nodule(10.0), np.array([500.0, 0.0, 0.0]), np.random.default_rng(1))
    assert body_occupancy(CANVAS, far) is None
