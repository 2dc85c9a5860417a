"""Cohort parameters small enough for tests."""

import dataclasses

from nodules.scans.phantom import cohort

SMALL = cohort.PhantomParams(
    seed=11,
    grid_px=96,
    pixel_spacing_mm=(2.4, 2.6),
    slice_thickness_mm=(4.0, 5.0),
    luna_scans=6,
    luna_subsets=2,
    luna_extra_nodules=0,
    dsb_patients=4,
    nodule_diameter_mm=(8.0, 30.0),
    nodule_free_share=0.1,
    noise_hu=(10.0, 20.0),
    padded_share=0.6,
)
SOLID = dataclasses.replace(SMALL, nodule_diameter_mm=(14.0, 30.0), nodule_free_share=0.0)
