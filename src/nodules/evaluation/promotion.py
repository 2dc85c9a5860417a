"""Whether a new model may take the place of the one in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from nodules.evaluation.cancer import LOG_LOSS_CLIP
from nodules.log_loss import log_losses

Alias = Literal["champion", "challenger"]
# The same id may mean another patient in another data set, such as phantoms of another seed.
LEAST_AGREEING = 0.9
PREDICTION_COLUMNS = ("id", "label", "probability")


@dataclass(frozen=True)
class Decision:
    """The alias a model gets, and why, in a sentence or two."""

    alias: Alias
    reason: str


@dataclass(frozen=True)
class Skill:
    """Out-of-fold skill, 1 - (log-loss / log-loss of the prior), with its 95 % interval. NaN if unknown."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} (95 %: {self.low:.3f} to {self.high:.3f})"


def decide(
    skill: Skill,
    predictions: pd.DataFrame,
    champion: pd.DataFrame | None,
    champion_name: str | None = None,
) -> Decision:
    """Give the alias ``champion`` to a model that beats the prior and is not worse than the champion.

    A model beats the prior if the whole interval of its skill lies above 0. While there is no champion, a positive
    skill is enough, so that the first run leaves a model to serve; the reason then says that nothing is proven.

    Parameters
    ----------
    skill : Skill
        Of the new model.
    predictions : DataFrame
        ``id``, ``label``, ``probability`` of the new model outside the folds, one row per patient and repeat.
    champion : DataFrame or None
        The same of the model in use; None if there is no such model or it left no predictions.
    champion_name : str or None
        What to call that model in the reason; None if there is none.

    Returns
    -------
    Decision
        A champion without a patient in common is not compared with, and that is said.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    if not skill.low > 0:  # NaN is no skill either
        return _unproven(skill, vacant=champion_name is None)
    beats = f"Its skill, {skill}, lies above 0."
    if champion_name is None:
        return Decision("champion", f"{beats} There is no earlier champion to compare with.")
    if champion is None:
        return Decision("champion", f"{beats} {champion_name} left no predictions to compare with.")
    both = _in_common(predictions, champion)
    if both.empty:
        return Decision("champion", f"{beats} {champion_name} was judged on other patients, so they were not compared.")
    new, old = float(both["loss_new"].mean()), float(both["loss_old"].mean())
    compared = f"log-loss {new:.4f}, of {champion_name} {old:.4f}, on the same {len(both)} patients"
    if new > old:
        return Decision("challenger", f"it is worse than the champion: {compared}.")
    return Decision("champion", f"{beats} It is not worse than the champion: {compared}.")


def _unproven(skill: Skill, *, vacant: bool) -> Decision:
    doubt = (
        f"Its skill, {skill}, is not shown to lie above 0. "
        "The model may be no better than giving every patient the same probability (the prior)."
    )
    if vacant and skill.value > 0:
        reason = "There was no champion, so a positive skill is enough, but nothing is proven."
        return Decision("champion", f"{reason} {doubt}")
    return Decision("challenger", doubt)


def _in_common(predictions: pd.DataFrame, champion: pd.DataFrame) -> pd.DataFrame:
    """Mean loss of both models for each patient that they share; none if their labels say that these are others."""
    new, old = _losses(predictions), _losses(champion)
    both = new.join(old, how="inner", lsuffix="_new", rsuffix="_old")
    agree = both["label_new"] == both["label_old"]
    return both[agree] if len(both) and agree.mean() >= LEAST_AGREEING else both.iloc[:0]


def _losses(predictions: pd.DataFrame) -> pd.DataFrame:
    if missing := [name for name in PREDICTION_COLUMNS if name not in predictions.columns]:
        raise ValueError(f"predictions must have the columns {', '.join(PREDICTION_COLUMNS)}; {missing} are missing")
    loss = log_losses(predictions["label"], predictions["probability"], LOG_LOSS_CLIP)
    table = pd.DataFrame({"id": predictions["id"].astype(str), "label": predictions["label"], "loss": loss})
    return table.groupby("id").agg(label=("label", "first"), loss=("loss", "mean"))
