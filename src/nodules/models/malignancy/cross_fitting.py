"""Out-of-fold ratings: each patient's nodules by networks that have not seen that patient, and their calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodules.models.malignancy import fusion
from nodules.models.malignancy.fusion import Fusions
from nodules.models.malignancy.network import TARGETS
from nodules.models.malignancy.rated_cubes import RatedCubes
from nodules.models.malignancy.rater import RaterSettings, mean_log_odds
from nodules.models.malignancy.training import MalignancyParams, train
from nodules.models.runtime.seeds import seed_of

DIAMETER_ERROR = 0.15
"""Standard deviation of the logarithm of a diameter by an automatic outline, against that by the readers' outlines."""

Array = NDArray[np.float64]

PROBABILITIES = ("centred", "off_centre", "centred_with_diameter", "off_centre_with_diameter")


@dataclass(frozen=True)
class OutOfFold:
    """Outputs (N, len(TARGETS)) of networks that have not seen the patient, for N nodules.

    Attributes
    ----------
    centred : (N, len(TARGETS)) ndarray
        For cubes around the centres of the nodules.
    off_centre : (N, len(TARGETS)) ndarray
        For cubes around places beside them: the largest shift of training along each axis.
    """

    centred: Array
    off_centre: Array


def rater_settings(params: MalignancyParams) -> RaterSettings:
    """Settings of the rater for the settings of a training."""
    return RaterSettings(params.network, params.cube, params.flips)


def cross_fit(
    cubes: RatedCubes,
    folds: NDArray[np.int64],
    params: MalignancyParams,
    *,
    seed: int,
    work: Path,
    log_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> OutOfFold:
    """Rate the nodules of each fold by networks trained on the other folds.

    Parameters
    ----------
    cubes : RatedCubes
        All nodules.
    folds : (N,) ndarray of int
        Fold of the patient of each nodule.
    work : Path
        Folder of finished folds, which are not trained again.
    """
    work.mkdir(parents=True, exist_ok=True)
    settings = rater_settings(params)
    outputs = np.empty((2, len(folds), len(TARGETS)))
    for fold in np.unique(folds):
        held_out, file = folds == fold, work / f"log_odds_{fold}.npy"
        if not file.exists():
            networks = train(cubes.without(held_out), params, seed=seed_of(seed, int(fold)), log_epoch=log_epoch)
            seen = [cubes.hu[held_out], _off_centre(cubes.hu[held_out], params, seed)]
            unfinished = file.with_suffix(".unfinished.npy")
            np.save(unfinished, np.stack([mean_log_odds(networks, settings, hu) for hu in seen]))
            unfinished.rename(file)
        outputs[:, held_out] = np.load(file)
    return OutOfFold(*outputs)


def _off_centre(wide: NDArray[np.int16], params: MalignancyParams, seed: int) -> NDArray[np.int16]:
    """Cubes (N, P, P, P) shifted by the largest shift of training along each axis, to random sides."""
    size, margin = params.cube.size_px, params.variation.margin_px(params.cube)
    starts = np.random.default_rng(seed).integers(2, size=(len(wide), 3)) * 2 * margin
    cut = [hu[z : z + size, y : y + size, x : x + size] for hu, (z, y, x) in zip(wide, starts, strict=True)]
    return np.stack(cut)


def calibrate(
    outputs: OutOfFold, malignant: Array, diameters_mm: Array, folds: NDArray[np.int64], seed: int
) -> tuple[Fusions, dict[str, Array]]:
    """Fit both fusions to out-of-fold outputs.

    The diameters are the readers'. A random error, as automatic outlines have it, is added before they are used.

    Parameters
    ----------
    outputs : OutOfFold
        Of N nodules.
    malignant : (N,) ndarray
        1, 0, or NaN for nodules that do not count.
    diameters_mm : (N,) ndarray
        By the readers' outlines.
    folds : (N,) ndarray of int
        Fold of the patient of each nodule.
    seed : int
        Determines the errors of the diameters.

    Returns
    -------
    Fusions, dict
        Fitted to all nodules; and probabilities (N,), those of each fold by fusions fitted to the other folds:
        ``centred`` and ``off_centre`` without the diameter, ``centred_with_diameter`` and ``off_centre_with_diameter``.
    """
    errors = np.random.default_rng(seed).normal(0, DIAMETER_ERROR, len(diameters_mm))
    measured_mm = diameters_mm * np.exp(errors)

    def fitted(rows: NDArray[np.bool_]) -> Fusions:
        chosen, labels = outputs.centred[rows], malignant[rows]
        return Fusions(fusion.fit(chosen, labels), fusion.fit(chosen, labels, measured_mm[rows]))

    probabilities = {name: np.empty(len(folds)) for name in PROBABILITIES}
    for fold in np.unique(folds):
        rows = folds == fold
        others = fitted(~rows)
        for place in ("centred", "off_centre"):
            seen = getattr(outputs, place)[rows]
            probabilities[place][rows] = others.by_centre.probability(seen)
            known = others.by_centre_and_diameter.probability(seen, measured_mm[rows])
            probabilities[f"{place}_with_diameter"][rows] = known
    return fitted(np.ones(len(folds), dtype=bool)), probabilities
