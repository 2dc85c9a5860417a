"""Derived seeds: one independent seed for each part of the work."""

from __future__ import annotations

import numpy as np


def seed_of(seed: int, *path: int) -> int:
    """Derive the seed of one part of the work, so that the parts can run in any order and on any worker."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0] >> 1)
