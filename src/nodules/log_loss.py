"""Log-loss of each predicted probability, used to select models and to evaluate them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def log_losses(
    truth: ArrayLike, probabilities: ArrayLike, clip: float = 0.0, *, log1p: bool = False
) -> NDArray[np.float64]:
    """Compute the log-loss -(t log p + (1 - t) log(1 - p)) of each probability, with the natural logarithm.

    Parameters
    ----------
    truth : array_like of float
        Labels t, 0 or 1. With true probabilities of the label 1 instead, the result is the expected loss.
    probabilities : array_like of float
        Predicted probabilities p of the label 1, in the same shape as `truth`.
    clip : float
        Probabilities are clipped to [clip, 1 - clip], because the loss can be infinite at 0 and 1.
    log1p : bool
        Compute log(1 - p) with `numpy.log1p`, which is more precise for small p.

    Returns
    -------
    ndarray of float64
        One loss per probability.
    """
    target = np.asarray(truth, dtype=np.float64)
    inside = np.clip(np.asarray(probabilities, dtype=np.float64), clip, 1 - clip)
    otherwise = np.log1p(-inside) if log1p else np.log(1 - inside)
    return np.asarray(-(target * np.log(inside) + (1 - target) * otherwise))
