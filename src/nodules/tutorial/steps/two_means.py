"""The two clusters of numbers that k-means looks for, found exactly.

On a line the best two clusters are the numbers below and above some cut, so all cuts can be tried: no random start, no
local optimum (Fisher, "On grouping for maximum homogeneity", JASA 53, 1958).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def two_means(values: NDArray[np.float64]) -> tuple[float, float]:
    """Means of the two clusters with the smallest sum of squared distances to them.

    Parameters
    ----------
    values : ndarray
        Any shape; at least two different numbers.

    Returns
    -------
    tuple of float
        The lower mean first. Of equally good cuts the lowest counts.

    Raises
    ------
    ValueError
        If a value is not finite or there are no two different ones.
    """
    if not np.isfinite(values).all():
        raise ValueError("values must be finite to be clustered, got NaN or infinity")
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 2:
        raise ValueError(f"two clusters need two different values, got {len(distinct)}")
    centred = distinct - values.mean()  # sums of large offsets would cost digits
    below, sum_below = np.cumsum(counts)[:-1], np.cumsum(counts * centred)[:-1]
    above, sum_above = values.size - below, np.sum(counts * centred) - sum_below
    # The squares within the clusters are those of all values less these, so the largest of these is wanted.
    between = sum_below**2 / below + sum_above**2 / above
    cut = int(np.argmax(between)) + 1
    low, high = (np.average(distinct[part], weights=counts[part]) for part in (slice(cut), slice(cut, None)))
    return float(low), float(high)
