"""Surfaces of balls, boxes and rods on grids of different spacing against their formulas."""

import numpy as np
import pytest

from nodules.imaging.candidate_shape import sphericity, surface_mm2

GRIDS = [(1.0, 1.0, 1.0), (2.5, 1.0, 1.0), (1.25, 0.6, 0.7), (0.8, 1.1, 0.9)]


def ellipsoid(radii_zyx_mm, spacing) -> np.ndarray:
    """Voxels whose centres lie inside, off the grid's own middle."""
    counts = [2 * int(radius / step) + 5 for radius, step in zip(radii_zyx_mm, spacing, strict=True)]
    places = [
        ((np.arange(count) - count / 2 + 0.27) * step / radius) ** 2
        for count, step, radius in zip(counts, spacing, radii_zyx_mm, strict=True)
    ]
    return places[0][:, None, None] + places[1][:, None] + places[2] <= 1


@pytest.mark.parametrize("spacing", GRIDS)
@pytest.mark.parametrize("radius_mm", [6.0, 10.0, 20.0])
def test_ball(radius_mm, spacing):
    ball = ellipsoid((radius_mm,) * 3, spacing)
    assert surface_mm2(ball, spacing) == pytest.approx(4 * np.pi * radius_mm**2, rel=0.04)
    assert sphericity(ball, spacing) > 0.95


@pytest.mark.parametrize("spacing", GRIDS)
def test_rod_is_less_round(spacing):
    """A prolate ellipsoid with half axes 20, 5, 5 mm: 2 pi b^2 (1 + a / (b e) asin e)."""
    e = np.sqrt(1 - (5 / 20) ** 2)
    wanted_mm2 = 2 * np.pi * 5**2 * (1 + 20 / (5 * e) * np.arcsin(e))
    round_mm2 = 4 * np.pi * (20 * 5 * 5) ** (2 / 3)
    for radii in ((20.0, 5.0, 5.0), (5.0, 20.0, 5.0), (5.0, 5.0, 20.0)):
        rod = ellipsoid(radii, spacing)
        assert surface_mm2(rod, spacing) == pytest.approx(wanted_mm2, rel=0.08)  # 13 directions are few
        assert sphericity(rod, spacing) == pytest.approx(round_mm2 / wanted_mm2, rel=0.09)


def test_two_balls_have_twice_the_surface():
    ball = ellipsoid((6.0,) * 3, GRIDS[1])
    both = np.concatenate([ball, np.zeros_like(ball), ball], axis=2)
    assert surface_mm2(both, GRIDS[1]) == pytest.approx(2 * surface_mm2(ball, GRIDS[1]))


def test_place_flips_and_padding_change_nothing():
    blob = np.random.default_rng(1).random((5, 6, 7)) < 0.6
    wanted = sphericity(blob, GRIDS[2])
    assert 0 < wanted < 1
    for same in (blob[::-1], blob[:, ::-1, ::-1], np.pad(blob, ((0, 3), (2, 0), (1, 1)))):
        assert sphericity(same, GRIDS[2]) == pytest.approx(wanted, rel=1e-12)
    turned = GRIDS[2][2], GRIDS[2][0], GRIDS[2][1]
    assert sphericity(blob.transpose(2, 0, 1), turned) == pytest.approx(wanted, rel=1e-9)


def test_few_voxels_count_as_round_and_nothing_as_well():
    assert sphericity(np.ones((1, 1, 1), bool), (2.5, 1.0, 1.0)) == 1.0
    assert sphericity(np.zeros((2, 2, 2), bool), (2.5, 1.0, 1.0)) == 1.0


def test_a_line_of_voxels_is_not_round():
    assert sphericity(np.ones((1, 1, 30), bool), (1.0, 1.0, 1.0)) < 0.7
