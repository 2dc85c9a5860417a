from __future__ import annotations

import numpy as np
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from nodules.imaging.geometry.reorient import canonical_axes
from nodules.imaging.geometry.volume import Volume

SHAPE_ZYX = (3, 4, 5)


@given(
    order=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    angle=st.floats(-0.6, 0.6),
    spacing=st.tuples(*[st.floats(0.4, 5.0)] * 3),
    origin=st.tuples(*[st.floats(-400, 400)] * 3),
)
@settings(max_examples=40, deadline=None)
def test_canonical_axes_moves_no_voxel(order, signs, angle, spacing, origin):
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    direction = (turn @ np.eye(3)[:, list(order)]) * signs
    values = np.arange(60, dtype=np.int16).reshape(SHAPE_ZYX)
    volume = Volume(values, spacing, origin, tuple(direction.ravel()))
    found = canonical_axes(volume)
    matrix = np.reshape(found.direction_xyz, (3, 3))
    assert (matrix.diagonal() > 0.8).all()
    for index in ((0, 0, 0), (2, 1, 4), (1, 3, 2)):
        there = found.world_to_voxel(volume.voxel_to_world(index))
        np.testing.assert_allclose(there, np.rint(there), atol=1e-6)
        assert found.voxels_zyx[tuple(np.rint(there).astype(int))] == values[index]


def test_canonical_axes_agrees_with_itk():
    direction = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    volume = Volume(
        np.arange(60, dtype=np.int16).reshape(SHAPE_ZYX), (2.5, 0.6, 0.8), (-120.5, 33.25, -301.0), direction
    )
    image = SimpleITK.GetImageFromArray(volume.voxels_zyx)
    image.SetSpacing(volume.spacing_zyx_mm[::-1])
    image.SetOrigin(volume.origin_xyz_mm)
    image.SetDirection(direction)
    wanted = SimpleITK.DICOMOrient(image, "LPS")
    found = canonical_axes(volume)
    np.testing.assert_array_equal(found.voxels_zyx, SimpleITK.GetArrayFromImage(wanted))
    np.testing.assert_allclose(found.origin_xyz_mm, wanted.GetOrigin())
    np.testing.assert_allclose(found.spacing_zyx_mm, wanted.GetSpacing()[::-1])
    np.testing.assert_allclose(found.direction_xyz, wanted.GetDirection())
