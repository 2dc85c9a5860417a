"""Log-loss of probabilities, patient by patient: models are chosen by it, and evaluation reports it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def log_losses(
    truth: ArrayLike, probabilities: ArrayLike, clip: float = 0.0, *, log1p: bool = False
) -> NDArray[np.float64]:
    """Minus the natural log of the probability given to what came true: -(t log p + (1 - t) log(1 - p)).

    Parameters
    ----------
    truth : array_like of float
        Labels t, 0 or 1; or true probabilities of the label 1, for the loss to expect.
    probabilities : array_like of float
        Stated probabilities p of the label 1, of the same shape.
    clip : float
        Probabilities are kept this far from 0 and 1, where the loss would not be finite.
    log1p : bool
        Take log(1 - p) by `numpy.log1p`, which keeps the digits of a small p.

    Returns
    -------
    ndarray of float64
        One loss per probability.
    """
    target = np.asarray(truth, dtype=np.float64)
    inside = np.clip(np.asarray(probabilities, dtype=np.float64), clip, 1 - clip)
    otherwise = np.log1p(-inside) if log1p else np.log(1 - inside)
    return np.asarray(-(target * np.log(inside) + (1 - target) * otherwise))
