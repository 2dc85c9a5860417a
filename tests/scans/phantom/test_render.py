"""A rendered chest: tissues where they belong, nodules in lung, grids of any size."""

import dataclasses

import numpy as np

from nodules.scans.phantom import cohort
from nodules.scans.phantom.anatomy.canvas import Canvas, cubic_matrix
from nodules.scans.phantom.anatomy.tubes import POINTS_PER_VOXEL, Tubes, tube_counts
from support.small_cohort import SMALL, SOLID


def test_chest_holds_lung_fat_muscle_and_bone():
    volume, _ = cohort.make_patient(0, "dsb", SMALL)
    middle = volume.voxels_zyx[volume.shape_zyx[0] // 2]
    litres = ((volume.voxels_zyx > -950) & (volume.voxels_zyx < -650)).sum() * volume.voxel_mm3 / 1e6
    assert 1.2 < litres < 8
    for low, high, least in ((-930, -700, 0.1), (-140, -60, 0.02), (0, 100, 0.1), (250, 1500, 0.002)):
        assert ((middle > low) & (middle < high)).mean() > least


def test_right_lung_is_larger_than_left():
    volume, _ = cohort.make_patient(1, "dsb", dataclasses.replace(SMALL, nodule_free_share=1.0))
    lung = (volume.voxels_zyx > -950) & (volume.voxels_zyx < -650)
    columns = np.arange(volume.shape_zyx[2]) < volume.shape_zyx[2] / 2  # patient's right is low x
    assert lung[..., columns].sum() > lung[..., ~columns].sum()


def test_nodules_lie_apart_and_in_lung():
    for index in range(4):
        volume, truth = cohort.make_patient(index, "luna", SOLID)
        for i, nodule in enumerate(truth.nodules):
            box = np.rint(volume.world_to_voxel(nodule.centre_world_xyz)).astype(int)
            reach = np.ceil(nodule.diameter_mm / np.array(volume.spacing_zyx_mm)).astype(int)
            near = volume.voxels_zyx[tuple(slice(max(b - r, 0), b + r + 1) for b, r in zip(box, reach, strict=True))]
            assert (near < -600).mean() > 0.1
            for other in truth.nodules[:i]:
                gap = np.linalg.norm(np.subtract(nodule.centre_world_xyz, other.centre_world_xyz))
                assert gap > (nodule.diameter_mm + other.diameter_mm) / 2


def test_thin_and_thick_slices_show_the_same_patient():
    volumes = [
        cohort.make_patient(0, "luna", dataclasses.replace(SMALL, slice_thickness_mm=(dz, dz)))[0] for dz in (3.0, 6.0)
    ]
    assert abs(volumes[0].extent_zyx_mm[0] - volumes[1].extent_zyx_mm[0]) < 6.1
    means = [v.voxels_zyx.mean() for v in volumes]
    assert abs(means[0] - means[1]) < 15


def test_tube_fills_its_own_volume():
    canvas = Canvas((20, 24, 28), (2.5, 0.8, 0.7), (0.0, 0.0, 0.0))
    points = np.array([[5.0, 9.0, 8.0], [13.0, 9.0, 40.0]])
    tube = Tubes(points[:1], points.mean(axis=0)[None], points[1:], np.array([2.0]), np.array([2.0]))
    counts = tube_counts(canvas, tube, np.random.default_rng(0))
    volume_mm3 = counts.sum() / POINTS_PER_VOXEL * 2.5 * 0.8 * 0.7
    assert abs(volume_mm3 / (np.pi * 4 * np.hypot(8, 32)) - 1) < 0.01
    assert counts.max() < 2 * POINTS_PER_VOXEL


def test_cubic_matrix_reproduces_a_parabola():
    knots = np.arange(-3, 12, dtype=np.float32)
    axis = np.linspace(0, 7, 23, dtype=np.float32)
    assert np.allclose(cubic_matrix(axis, knots) @ (knots**2), axis**2, atol=1e-4)
