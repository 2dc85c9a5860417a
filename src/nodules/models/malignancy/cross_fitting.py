"""Out-of-fold ratings: each patient's nodules by networks that have not seen that patient, and their calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from nodules.models.cancer.calibration import Calibration, fit_kind
from nodules.models.malignancy.rated_cubes import RatedCubes
from nodules.models.malignancy.rater import MalignancyRater, RaterSettings
from nodules.models.malignancy.training import MalignancyParams, train
from nodules.models.runtime.seeds import seed_of

UNCALIBRATED = Calibration("none", 1e-6)


def rater(
    networks: Sequence[keras.Model], params: MalignancyParams, calibration: Calibration = UNCALIBRATED
) -> MalignancyRater:
    """Rater of these networks with the settings of their training."""
    return MalignancyRater(networks, RaterSettings(params.network, params.cube, params.flips), calibration)


def cross_fit(
    cubes: RatedCubes,
    folds: NDArray[np.int64],
    params: MalignancyParams,
    *,
    seed: int,
    work: Path,
    log_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> NDArray[np.float64]:
    """Rate the nodules of each fold by networks trained on the other folds.

    Parameters
    ----------
    cubes : RatedCubes
        All nodules.
    folds : (N,) ndarray of int
        Fold of the patient of each nodule.
    work : Path
        Folder of finished folds, which are not trained again.

    Returns
    -------
    (N, 2) ndarray of float64
        Log-odds, not calibrated: of the cube around the centre of the nodule, and of one around a place beside it: the
        largest shift of training along each axis.
    """
    work.mkdir(parents=True, exist_ok=True)
    log_odds = np.empty((len(folds), 2))
    for fold in np.unique(folds):
        held_out, file = folds == fold, work / f"log_odds_{fold}.npy"
        if not file.exists():
            networks = train(cubes.without(held_out), params, seed=seed_of(seed, int(fold)), log_epoch=log_epoch)
            found = rater(networks, params)
            seen = [cubes.hu[held_out], _off_centre(cubes.hu[held_out], params, seed)]
            unfinished = file.with_suffix(".unfinished.npy")
            np.save(unfinished, np.column_stack([found.log_odds(hu)[:, 0] for hu in seen]))
            unfinished.rename(file)
        log_odds[held_out] = np.load(file)
    return log_odds


def _off_centre(wide: NDArray[np.int16], params: MalignancyParams, seed: int) -> NDArray[np.int16]:
    """Cubes (N, P, P, P) shifted by the largest shift of training along each axis, to random sides."""
    size, margin = params.cube.size_px, params.variation.margin_px(params.cube)
    starts = np.random.default_rng(seed).integers(2, size=(len(wide), 3)) * 2 * margin
    cut = [hu[z : z + size, y : y + size, x : x + size] for hu, (z, y, x) in zip(wide, starts, strict=True)]
    return np.stack(cut)


def calibrate(
    log_odds: NDArray[np.float64], malignant: NDArray[np.float64], folds: NDArray[np.int64]
) -> tuple[Calibration, NDArray[np.float64]]:
    """Fit Platt's calibration to out-of-fold log-odds.

    Parameters
    ----------
    log_odds : (N, M) ndarray
        Out-of-fold log-odds; the calibration is fitted to the first column.
    malignant : (N,) ndarray
        1, 0, or NaN for nodules that do not count.
    folds : (N,) ndarray of int
        Fold of the patient of each nodule.

    Returns
    -------
    Calibration, (N, M) ndarray
        Fitted to all nodules, and the probabilities of each fold under a calibration fitted to the other folds.
    """
    stated, counts = expit(log_odds), np.isfinite(malignant)

    def fitted(rows: NDArray[np.bool_]) -> Calibration:
        return fit_kind("platt", malignant[rows].astype(np.int64), stated[rows, 0])

    probabilities = np.empty(log_odds.shape)
    for fold in np.unique(folds):
        probabilities[folds == fold] = fitted(counts & (folds != fold)).of(stated[folds == fold])
    return fitted(counts), probabilities
