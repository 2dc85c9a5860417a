"""Seeds of the parts of a whole that has one seed."""

from __future__ import annotations

import numpy as np


def seed_of(seed: int, *path: int) -> int:
    """Seed for one part of the work, so that parts can be done in any order and on any worker."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0] >> 1)
