"""Lungs of one slice by the steps of the tutorial's page with scikit-learn's k-means, to be timed and compared.

`nodules.tutorial.steps.lung_steps` finds the best two clusters of grey values exactly. Here scikit-learn searches for
them from a number of random starts, as on the page; all other steps are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label
from sklearn.cluster import KMeans

from nodules.tutorial.steps.grey_values import grey_values, standardise
from nodules.tutorial.steps.lung_steps import dilate, erode, level_extremes, lung_regions, middle

STARTS = 10  # scikit-learn's default when the tutorial was written; today it is 1


def kmeans_lungs(plane_hu: NDArray[Any], starts: int = STARTS) -> NDArray[np.bool_]:
    """Find the lungs of one axial slice.

    Parameters
    ----------
    plane_hu : (Y, X) ndarray
        HU.
    starts : int
        Of the clustering; the best is kept.

    Returns
    -------
    (Y, X) ndarray of bool
        All False in a slice of one value.
    """
    if np.ptp(plane_hu) == 0:
        return np.zeros(plane_hu.shape, dtype=bool)
    levelled = level_extremes(standardise(grey_values(plane_hu)))
    clusters = KMeans(n_clusters=2, n_init=starts, random_state=0).fit(middle(levelled).reshape(-1, 1))
    regions = label(dilate(erode(levelled < clusters.cluster_centers_.mean())))
    return dilate(np.isin(regions, lung_regions(regions)))
