"""Lungs of one slice as the k-means tutorial for the Data Science Bowl 2017 finds them, to be timed and compared.

Written from its description: standardise the slice, put the extremes at the mean of the middle, split the middle into
two clusters of grey values, threshold between them, erode, dilate, choose regions by their bounding box, dilate again.
The numbers are the tutorial's, in pixels of a slice of 512 x 512; here the footprints are those sizes, the box of the
middle and the bounds of the regions scale with the slice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label
from skimage.morphology import dilation, erosion
from sklearn.cluster import KMeans

from nodules.tutorial.steps.lung_steps import DILATED_PX, ERODED_PX, MIDDLE, lung_regions

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
    plane = plane_hu.astype(np.float64)
    if np.ptp(plane) == 0:
        return np.zeros(plane.shape, dtype=bool)
    plane = (plane - plane.mean()) / plane.std()
    rows, columns = (slice(int(MIDDLE[0] * n), int(MIDDLE[1] * n)) for n in plane.shape)
    middle_mean = plane[rows, columns].mean()
    plane[(plane == plane.min()) | (plane == plane.max())] = middle_mean
    clusters = KMeans(n_clusters=2, n_init=starts, random_state=0).fit(plane[rows, columns].reshape(-1, 1))
    dark = plane < clusters.cluster_centers_.mean()
    regions = label(dilation(erosion(dark, np.ones((ERODED_PX,) * 2)), np.ones((DILATED_PX,) * 2)))
    lungs = np.isin(regions, lung_regions(regions))
    return np.asarray(dilation(lungs, np.ones((DILATED_PX,) * 2)))
