"""Bootstrap confidence intervals over the patients: metrics of repeated validation, and the mean of any score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nodules.evaluation.cancer import DECISION_THRESHOLD, LOG_LOSS_CLIP, bin_numbers
from nodules.log_loss import log_losses

DRAWS = 1000  # bootstrap samples
INTERVAL = (0.025, 0.975)  # quantiles of the 95 % interval
_CHUNK = 4_000_000  # largest number of patients times draws in memory at once

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Predicted:
    """Predictions of one model for all patients, one per repeat of the validation.

    Attributes
    ----------
    probabilities : (patients, repeats) array
        Predicted probabilities of cancer.
    thresholds : (patients, repeats) array or None
        Smallest probability that is classified as cancer, chosen without the patient. The metrics ``f1_tuned``,
        ``precision_tuned`` and ``recall_tuned`` are computed only if it is given.
    """

    probabilities: Array
    thresholds: Array | None = None


def from_table(table: pd.DataFrame, names: Sequence[str], tuned: str) -> tuple[pd.Series, dict[str, Predicted]]:
    """Convert a table with one row per patient and repeat to arrays.

    Parameters
    ----------
    table : DataFrame
        ``id``, ``repeat``, ``label``, ``threshold`` and one column of probabilities per name.
    names : sequence of str
        Columns of probabilities to convert.
    tuned : str
        Column for which ``threshold`` was chosen.

    Returns
    -------
    Series, dict
        Labels by patient id, sorted, and `Predicted` by name in the same order.
    """
    labels = table.groupby("id")["label"].first()

    def wide(column: str) -> Array:
        return table.pivot(index="id", columns="repeat", values=column).loc[labels.index].to_numpy(dtype=float)

    thresholds = {tuned: wide("threshold")}
    return labels, {name: Predicted(wide(name), thresholds.get(name)) for name in names}


def evaluate_repeated(
    labels: Sequence[int] | NDArray[np.int64],
    models: Mapping[str, Predicted],
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute the metrics of all models with 95 % bootstrap intervals (percentile method; Efron 1979).

    Each metric is computed per repeat and then averaged over the repeats. The bootstrap resamples patients with all
    their repeats, and uses the same samples for all models. The intervals show how much the metrics depend on the
    evaluated patients, not how much they would change with other training patients. The interval of the calibration
    error is biased upwards, because resampling adds noise and the error cannot be negative.

    Parameters
    ----------
    labels : (patients,) array of 0 and 1
        1 is cancer.
    models : mapping
        `Predicted` by name of the model.
    draws : int
        Number of bootstrap samples. With 0, the intervals are NaN.

    Returns
    -------
    DataFrame
        Columns ``model``, ``metric``, ``value``, ``low``, ``high``. The metrics are those of
        `classification_metrics`. ``skill`` and ``auc`` are NaN if only one class is present; their intervals ignore
        bootstrap samples with a single class.

    Raises
    ------
    ValueError
        If there are no patients, a label is not 0 or 1, or the probabilities are not (patients, repeats) in [0, 1].
    """
    truth = _labels(labels)
    whole = np.ones((1, truth.size))
    tables = []
    for name, predicted in models.items():
        _check(name, predicted, truth)
        value = _averaged_metrics(truth, predicted, whole)
        drawn = [_averaged_metrics(truth, predicted, counts) for counts in _bootstrap_counts(truth.size, draws, seed)]
        tables.append(pd.DataFrame([_row(name, metric, value, drawn) for metric in value]))
    return pd.concat(tables, ignore_index=True)


def by_model(metrics: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Convert the table of `evaluate_repeated` to {model: {metric, metric_low, metric_high}}, without NaN."""
    found: dict[str, dict[str, float]] = {}
    for row in metrics.itertuples(index=False):
        figures = {row.metric: row.value, f"{row.metric}_low": row.low, f"{row.metric}_high": row.high}
        found.setdefault(str(row.model), {}).update(
            {name: float(figure) for name, figure in figures.items() if not np.isnan(figure)}
        )
    return found


def mean_interval(
    values: NDArray[Any], patients: Sequence[str] | NDArray[Any], draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of a mean; the bootstrap draws patients, each with all their values.

    Parameters
    ----------
    values : (n,) array
        At least one.
    patients : (n,) sequence
        To whom each value belongs.
    """
    owner = np.unique(patients, return_inverse=True)[1]
    sums, sizes = np.bincount(owner, values), np.bincount(owner)
    means = [counts @ sums / (counts @ sizes) for counts in _bootstrap_counts(sums.size, draws, seed)]
    low, high = np.quantile(np.concatenate(means), INTERVAL)
    return float(low), float(high)


def grouped_metrics(
    labels: Sequence[int] | NDArray[Any],
    probabilities: Array,
    patients: Sequence[str] | NDArray[Any],
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, float]:
    """Metrics of nodules with 95 % intervals; the bootstrap draws patients, each with all their nodules.

    Parameters
    ----------
    labels : (nodules,) array of 0 and 1
        At least one.
    probabilities : (nodules,) array
        Probability of the label 1.
    patients : (nodules,) sequence
        To whom each nodule belongs.

    Returns
    -------
    dict
        ``auc``, ``ece``, ``brier``, ``log_loss``, ``prior_log_loss`` and ``skill`` as in `classification_metrics`,
        each with its interval as ``_low`` and ``_high``. What needs both labels is missing if there is only one.

    Raises
    ------
    ValueError
        As `evaluate_repeated`.
    """
    truth = _labels(labels)
    _check("nodules", Predicted(probabilities[:, np.newaxis]), truth)
    owner = np.unique(patients, return_inverse=True)[1]
    value = _probability_metrics(truth, probabilities, np.ones((1, truth.size)))
    drawn = [
        _probability_metrics(truth, probabilities, counts[:, owner])
        for counts in _bootstrap_counts(int(owner.max()) + 1, draws, seed)
    ]
    rows = pd.DataFrame([_row("nodules", metric, value, drawn) for metric in value])
    return by_model(rows)["nodules"]


def _labels(labels: Sequence[int] | NDArray[Any]) -> NDArray[np.int64]:
    truth = np.asarray(labels)
    if truth.ndim != 1 or not truth.size or not np.isin(truth, (0, 1)).all():
        raise ValueError(f"labels: expected a 1-D array of 0 and 1, at least one, got shape {truth.shape}")
    return truth.astype(np.int64)


def _check(name: str, predicted: Predicted, truth: NDArray[np.int64]) -> None:
    probabilities = predicted.probabilities
    if probabilities.ndim != 2 or len(probabilities) != truth.size:
        raise ValueError(
            f"{name}: expected probabilities of {truth.size} patients by repeat, got shape {probabilities.shape}"
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():  # NaN fails here too
        raise ValueError(f"{name}: expected probabilities in [0, 1], got values outside or NaN")
    if predicted.thresholds is not None and predicted.thresholds.shape != probabilities.shape:
        raise ValueError(f"{name}: expected a threshold for each probability, got shape {predicted.thresholds.shape}")


def _row(name: str, metric: str, value: Mapping[str, Array], drawn: list[dict[str, Array]]) -> dict[str, str | float]:
    low = high = np.nan
    if drawn:
        spread = np.concatenate([figures[metric] for figures in drawn])
        if not np.isnan(value[metric][0]) and not np.isnan(spread).all():
            low, high = np.nanquantile(spread, INTERVAL)
    return {"model": name, "metric": metric, "value": float(value[metric][0]), "low": float(low), "high": float(high)}


def _bootstrap_counts(patients: int, draws: int, seed: int) -> Iterator[Array]:
    """Yield how often each patient was drawn, (draws of one chunk, patients), chunk by chunk."""
    random = np.random.default_rng(seed)
    at_once = max(_CHUNK // patients, 1)
    for start in range(0, draws, at_once):
        rows = min(at_once, draws - start)
        places = random.integers(patients, size=(rows, patients)) + patients * np.arange(rows)[:, np.newaxis]
        yield np.bincount(places.ravel(), minlength=rows * patients).reshape(rows, patients).astype(float)


def _averaged_metrics(truth: NDArray[np.int64], predicted: Predicted, counts: Array) -> dict[str, Array]:
    """All metrics for each row of `counts`, averaged over the repeats."""
    repeats = predicted.probabilities.shape[1]
    parts = []
    for repeat in range(repeats):
        probability = predicted.probabilities[:, repeat]
        found = _probability_metrics(truth, probability, counts)
        found |= _threshold_metrics(truth, probability >= DECISION_THRESHOLD, counts, "")
        if predicted.thresholds is not None:
            found |= _threshold_metrics(truth, probability >= predicted.thresholds[:, repeat], counts, "_tuned")
        parts.append(found)
    return {metric: np.mean([part[metric] for part in parts], axis=0) for metric in parts[0]}


def _probability_metrics(truth: NDArray[np.int64], probability: Array, counts: Array) -> dict[str, Array]:
    rows = counts.sum(axis=1)
    loss = log_losses(truth, probability, LOG_LOSS_CLIP, log1p=True)
    gaps = np.zeros((truth.size, bin_numbers(probability).max() + 1))
    gaps[np.arange(truth.size), bin_numbers(probability)] = probability - truth
    log_loss, share = counts @ loss / rows, counts @ truth / rows
    prior = _entropy(share)
    with np.errstate(divide="ignore", invalid="ignore"):
        skill = np.where(prior > 0, 1 - log_loss / prior, np.nan)
    return {
        "log_loss": log_loss,
        "prior_log_loss": prior,
        "skill": skill,
        "auc": _auc(truth, probability, counts),
        "brier": counts @ (probability - truth) ** 2 / rows,
        # In each bin, rows x (mean probability - share of positives) equals the sum of (probability - label).
        "ece": np.abs(counts @ gaps).sum(axis=1) / rows,
    }


def _threshold_metrics(
    truth: NDArray[np.int64], called: NDArray[np.bool_], counts: Array, suffix: str
) -> dict[str, Array]:
    right, calls, positives = counts @ (truth * called), counts @ called.astype(float), counts @ truth.astype(float)
    return {
        f"f1{suffix}": _ratio(2 * right, calls + positives),
        f"precision{suffix}": _ratio(right, calls),
        f"recall{suffix}": _ratio(right, positives),
    }


def _auc(truth: NDArray[np.int64], probability: Array, counts: Array) -> Array:
    """Share of correctly ranked pairs (cancer, no cancer); ties count half. NaN without pairs."""
    order = np.argsort(probability, kind="stable")
    starts = np.flatnonzero(np.diff(probability[order], prepend=-1.0))
    ranked = counts[:, order]
    positives = np.add.reduceat(ranked * truth[order], starts, axis=1)
    negatives = np.add.reduceat(ranked * (1 - truth[order]), starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    won = (positives * (below + negatives / 2)).sum(axis=1)
    return np.divide(won, pairs, out=np.full(len(counts), np.nan), where=pairs > 0)


def _entropy(share: Array) -> Array:
    return np.where((share > 0) & (share < 1), log_losses(share, share, LOG_LOSS_CLIP, log1p=True), 0.0)


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
