"""Fusion of the 3-D network's score of a proposal with the U-Net's, by logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

INVERSE_RIDGE = 1.0
"""scikit-learn's `C`. The penalty equals a normal prior of variance 1 on the weight of each standardised score. It is
needed because the U-Net's two scores are nearly collinear and the validation scans hold few nodules. On the phantoms'
validation scans the out-of-fold log-loss is 0.142 with 0.1, 0.111 with 1 and 0.110 with 10."""

CLIP = 1 / 510  # half of the step in which probabilities are stored, so the logit of 0 and 1 is finite
FOLDS = 5
EVIDENCE = ("network", "mean_probability", "max_probability", "diameter")
"""Names of the columns of `evidence`."""


@dataclass(frozen=True)
class Fusion:
    """A logistic regression on the `evidence` of a proposal.

    It is fitted to the proposals of the validation scans, on which the U-Net's epoch is chosen and the segmentation is
    tuned as well. Metrics on the validation scans are therefore slightly optimistic; those on the test scans are not.
    The training scans cannot be used, because the U-Net is overconfident on them.

    Attributes
    ----------
    weights : tuple of 4 float
        Weights of the network's log-odds, of the log-odds of the mean and of the largest U-Net probability, and of
        log(diameter in mm).
    intercept : float
        Added to the weighted sum.
    """

    weights: tuple[float, float, float, float]
    intercept: float

    def probability(self, evidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability (N,) in [0, 1] for evidence (N, 4)."""
        probability: NDArray[np.float64] = expit(evidence @ np.asarray(self.weights) + self.intercept)
        return probability

    def by_name(self) -> dict[str, float]:
        """The weights by name, and the intercept."""
        return dict(zip(EVIDENCE, self.weights, strict=True)) | {"intercept": self.intercept}


IDENTITY = Fusion((1.0, 0.0, 0.0, 0.0), 0.0)
"""The fusion that returns the network's own probability."""


def evidence(log_odds: ArrayLike, proposals: pd.DataFrame) -> NDArray[np.float64]:
    """Inputs of a fusion.

    Parameters
    ----------
    log_odds : (N,) array-like of float
        Log-odds by the network.
    proposals : DataFrame
        Columns mean_probability, max_probability, diameter_mm; diameters below 1 mm count as 1 mm.

    Returns
    -------
    (N, 4) ndarray of float64
        The columns `EVIDENCE`.
    """
    probabilities = proposals[["mean_probability", "max_probability"]].to_numpy(dtype=float)
    unet = logit(np.clip(probabilities, CLIP, 1 - CLIP))
    size = np.log(np.maximum(proposals["diameter_mm"].to_numpy(dtype=float), 1.0))
    return np.column_stack([np.asarray(log_odds, dtype=float).reshape(-1), unet, size])


def fit(
    evidence_rows: NDArray[np.float64], is_nodule: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> Fusion:
    """Fit a fusion; it is `IDENTITY` if there are no nodules or nothing but nodules.

    Parameters
    ----------
    evidence_rows : (N, 4) ndarray
        As `evidence` returns it.
    is_nodule : (N,) ndarray of bool
        Whether each proposal is a nodule.
    weights : (N,) ndarray, optional
        Weight of each proposal; 1 by default.
    """
    if is_nodule.all() or not is_nodule.any():
        return IDENTITY
    (cube, mean, largest, size), intercept = standardised_logistic(evidence_rows, is_nodule, INVERSE_RIDGE, weights)
    return Fusion((cube, mean, largest, size), intercept)


def standardised_logistic(
    inputs: NDArray[np.float64],
    labels: NDArray[np.bool_],
    inverse_ridge: float,
    weights: NDArray[np.float64] | None = None,
) -> tuple[list[float], float]:
    """Fit a logistic regression on standardised inputs.

    Returns
    -------
    slopes : list of float
        For the inputs as they are, so that the scaler need not be stored.
    intercept : float
    """
    scaler = StandardScaler().fit(inputs)
    model = LogisticRegression(C=inverse_ridge).fit(scaler.transform(inputs), labels, weights)
    slopes = model.coef_[0] / scaler.scale_
    return slopes.tolist(), float(model.intercept_[0] - slopes @ scaler.mean_)


def out_of_fold(
    evidence_rows: NDArray[np.float64], is_nodule: NDArray[np.bool_], patients: Sequence[str]
) -> NDArray[np.float64]:
    """Probability of each proposal by a fusion fitted to the proposals of other patients.

    With a single patient the fusion is `IDENTITY`.
    """
    folds = min(FOLDS, len(set(patients)))
    if folds < 2:
        return IDENTITY.probability(evidence_rows)
    probability = np.empty(len(evidence_rows))
    for others, held_out in GroupKFold(folds).split(evidence_rows, is_nodule, patients):
        probability[held_out] = fit(evidence_rows[others], is_nodule[others]).probability(evidence_rows[held_out])
    return probability


def fit_and_evaluate(
    log_odds: ArrayLike, proposals: pd.DataFrame, is_nodule: NDArray[np.bool_], patients: Sequence[str]
) -> tuple[Fusion, dict[str, float | None]]:
    """Fit the fusion to all proposals, and evaluate it out of fold by patient.

    Parameters
    ----------
    log_odds, proposals
        As for `evidence`.
    is_nodule : (N,) ndarray of bool
        Whether each proposal is a nodule.
    patients : sequence of str
        The patient of each proposal.

    Returns
    -------
    fusion : Fusion
        Fitted to all proposals.
    areas : dict of str to float or None
        Areas under the ROC curve: `auc_before` of the U-Net's mean probability, `auc_network` of the 3-D network, and
        `auc_after` of the fusion, out of fold.
    """
    rows = evidence(log_odds, proposals)
    areas = {
        "auc_before": auc(is_nodule, proposals["mean_probability"]),
        "auc_network": auc(is_nodule, log_odds),
        "auc_after": auc(is_nodule, out_of_fold(rows, is_nodule, patients)),
    }
    return fit(rows, is_nodule), areas


def auc(is_nodule: NDArray[np.bool_], score: ArrayLike) -> float | None:
    """Area under the ROC curve; None if there are no nodules or nothing but nodules."""
    if not len(is_nodule) or is_nodule.all() or not is_nodule.any():
        return None
    return float(roc_auc_score(is_nodule, score))
