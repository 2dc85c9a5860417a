"""Surfaces of balls, boxes and rods on grids of different spacing against their formulas."""

import numpy as np
import pytest

from nodules.imaging.candidates.shape import solid_share, sphericity, spiculation, surface_mm2

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


def places_mm(spacing, reach_mm=16.0) -> np.ndarray:
    """Distances (3, Z, Y, X) from a point off the grid."""
    axes = [np.arange(-reach_mm, reach_mm, step) + 0.27 * step for step in spacing]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def strands(spacing, number: int, noise_hu: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """HU of a ball of 12 mm in lung with strands of 2 mm to 6 mm outside it, and the ball's voxels."""
    place = places_mm(spacing)
    away = np.random.default_rng(5).standard_normal((number, 3))
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    radius = np.linalg.norm(place, axis=0)
    hu = np.full(radius.shape, -850.0)
    for direction in away:
        along = np.tensordot(direction, place, axes=1)
        across = np.sqrt(np.maximum(radius**2 - along**2, 0))
        hu[(across <= 1.0) & (along > 0) & (along < 12.0)] = -450.0
    ball = radius <= 6.0
    hu[ball] = 30.0
    return hu + np.random.default_rng(6).normal(0, noise_hu, hu.shape), ball


def measured(spacing, number, noise_hu=0.0) -> float:
    hu, ball = strands(spacing, number, noise_hu)
    return spiculation(hu.astype(np.int16), ball, np.ones(ball.shape, bool), spacing)


@pytest.mark.parametrize("spacing", GRIDS)
def test_ball_with_strands_is_spiculated_on_every_grid(spacing):
    assert measured(spacing, 0) == 0.0
    # The strands take a good twentieth of the shell: its brightest twentieth is a strand's, its median lung's.
    assert measured(spacing, 40) == pytest.approx(400 / 880, abs=0.01)


@pytest.mark.parametrize("spacing", GRIDS)
def test_noise_is_no_strand_and_hides_none(spacing):
    assert measured(spacing, 0, noise_hu=60.0) < 0.03
    assert measured(spacing, 90, noise_hu=60.0) == pytest.approx(400 / 880, abs=0.1)


def test_one_vessel_is_no_spiculation():
    assert measured(GRIDS[0], 1) == 0.0


def test_spiculation_by_hand():
    """100 voxels of shell: 10 at -400, 80 at -800, 10 at -850; nodule at 0: (400 - 50) / 800."""
    spacing = (1.0, 1.0, 0.03)  # voxels 67 to 166 lie in the shell
    shell = np.zeros((1, 1, 170), np.int16)
    shell[0, 0, 67:167] = [-400] * 10 + [-800] * 80 + [-850] * 10
    nodule = np.zeros(shell.shape, bool)
    nodule[0, 0, 0] = True
    assert spiculation(shell, nodule, np.ones(shell.shape, bool), spacing) == pytest.approx((400 - 50) / 800)


def test_only_lung_around_counts_and_without_it_there_is_no_spiculation():
    hu, ball = strands(GRIDS[0], 40)
    lung = hu < -800
    assert spiculation(hu.astype(np.int16), ball, lung, GRIDS[0]) == 0.0
    assert spiculation(hu.astype(np.int16), ball, ball, GRIDS[0]) == 0.0
    assert spiculation(np.full(hu.shape, -850, np.int16), ball, ~ball, GRIDS[0]) == 0.0


def test_solid_share_counts_voxels_above_the_limit():
    assert solid_share(np.array([-300.0, -299.0, 40.0, -700.0])) == 0.5
    assert solid_share(np.full(5, -600.0)) == 0.0
