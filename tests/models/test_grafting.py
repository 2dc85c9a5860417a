"""Nodules grafted into flat lungs: where they land, what is denser wins, what is left out."""

import numpy as np
import pytest

from nodules.models.grafting import RIM_PX, graft, has_lung_around

SIZE = 25


def disc(y=12, x=12, radius=4.0):
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def view(hu, nodule=None):
    """Two channels of HU, the second 100 below the first, and a mask."""
    hu = np.broadcast_to(np.asarray(hu, np.float32), (SIZE, SIZE))
    mask = np.zeros((SIZE, SIZE), bool) if nodule is None else nodule
    return np.stack([hu, hu - 100], axis=-1), mask.astype(np.float32)


LUNGS = np.ones((SIZE, SIZE), np.float32)


def test_nodule_arrives_with_its_mask_in_every_channel():
    nodule = disc()
    host, donor = view(-850), view(np.where(nodule, 30, -850), nodule)
    hu, mask = graft(host, LUNGS, donor, 12, 12)
    assert np.array_equal(mask, nodule)
    np.testing.assert_array_equal(hu[nodule], np.broadcast_to([30, -70], (nodule.sum(), 2)))
    np.testing.assert_array_equal(hu[~nodule], host[0][~nodule])


def test_host_is_left_as_it_was():
    host, donor = view(-850), view(np.where(disc(), 30, -850), disc())
    before = host[0].copy(), host[1].copy()
    graft(host, LUNGS, donor, 12, 12)
    assert np.array_equal(host[0], before[0])
    assert np.array_equal(host[1], before[1])


def test_denser_vessels_of_the_host_stay():
    """A vessel of 100 HU crosses the place: seen through ground glass of -600 HU, whose mask is whole all the same."""
    vessel = np.full((SIZE, SIZE), -850.0)
    vessel[:, 12] = 100
    nodule = disc()
    hu, mask = graft(view(vessel), LUNGS, view(np.where(nodule, -600, -850), nodule), 12, 12)
    assert (hu[:, 12, 0] == 100).all()
    assert (hu[12, [9, 10, 11, 13, 14], 0] == -600).all()
    assert np.array_equal(mask, nodule)


def test_surroundings_of_the_donor_fade_with_the_distance():
    """The donor is -450 HU everywhere, 400 above the host: 1 pixel from the nodule all of it arrives, then less."""
    nodule = disc(radius=0.5)
    hu, _ = graft(view(-850), LUNGS, view(-450, nodule), 12, 12)
    along = hu[12, 12 : 12 + RIM_PX + 3, 0]
    np.testing.assert_allclose(along, [-450, -450, -850 + 400 * 2 / 3, -850 + 400 / 3, -850, -850], atol=1e-3)


def test_only_the_nodule_at_the_place_is_taken():
    near, far = disc(12, 7, 3), disc(12, 20, 2)
    donor = view(np.where(near | far, 30, -850), near | far)
    hu, mask = graft(view(-850), LUNGS, donor, 12, 7)
    assert np.array_equal(mask, near)
    assert np.array_equal(hu[..., 0] == 30, near)


def test_nodule_of_the_host_keeps_its_mask():
    own, grafted = disc(5, 5, 2), disc(17, 17, 3)
    _, mask = graft(view(np.where(own, 0, -850), own), LUNGS, view(np.where(grafted, 30, -850), grafted), 17, 17)
    assert np.array_equal(mask, own | grafted)


@pytest.mark.parametrize("place", [(3, 3), (-1, 12), (12, SIZE)], ids=["beside", "above", "right_of_all"])
def test_without_a_nodule_at_the_place_nothing_is_grafted(place):
    host, donor = view(-850), view(np.where(disc(), 30, -850), disc())
    hu, mask = graft(host, LUNGS, donor, *place)
    assert np.array_equal(hu, host[0])
    assert np.array_equal(mask, host[1])


@pytest.mark.parametrize(("first_column", "grafted"), [(8, True), (9, True), (12, False)])
def test_a_nodule_must_lie_in_the_lungs_of_the_host(first_column, grafted):
    """The disc spans columns 8 to 16 and has 49 pixels: 1 in column 8, 5 in column 9, ..."""
    lungs = LUNGS.copy()
    lungs[:, :first_column] = 0
    _, mask = graft(view(-850), lungs, view(np.where(disc(), 30, -850), disc()), 12, 12)
    assert mask.any() == grafted


def test_nodule_at_the_chest_wall_is_no_donor():
    lungs = np.zeros((SIZE, SIZE), bool)
    lungs[:, 6:] = True
    assert has_lung_around(disc(12, 15, 3), lungs, 12, 15)
    assert not has_lung_around(disc(12, 7, 3), lungs, 12, 7)
    assert not has_lung_around(disc(12, 15, 3), lungs, 2, 2)
