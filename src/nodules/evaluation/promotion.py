"""Decision whether a new model becomes the champion, the model in use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from nodules.evaluation.cancer import LOG_LOSS_CLIP
from nodules.log_loss import log_losses

Alias = Literal["champion", "challenger"]
# Models are compared only if at least this share of the labels of common ids agree. In another data set, such as
# phantoms of another seed, the same id may mean another patient.
MIN_LABEL_AGREEMENT = 0.9
PREDICTION_COLUMNS = ("id", "label", "probability")


@dataclass(frozen=True)
class Decision:
    """Alias that a model gets, and the reason in one or two sentences."""

    alias: Alias
    reason: str


@dataclass(frozen=True)
class Skill:
    """Out-of-fold skill, 1 - log-loss / log-loss of the prior, with its 95 % interval; NaN if unknown."""

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

    A model beats the prior if the whole interval of its skill is above 0. If there is no champion yet, a positive skill
    is sufficient, so that the first run provides a model to serve; the reason then says that nothing is proven.

    Parameters
    ----------
    skill : Skill
        Skill of the new model.
    predictions : DataFrame
        Out-of-fold predictions of the new model with columns ``id``, ``label`` and ``probability``; one row per patient
        and repeat.
    champion : DataFrame or None
        The same for the champion; None if there is no champion or it has no stored predictions.
    champion_name : str or None
        Name of the champion in the reason; None if there is no champion.

    Returns
    -------
    Decision
        Without common patients the models are not compared, and the reason says so.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    if not skill.low > 0:  # NaN fails here too
        return _unproven(skill, vacant=champion_name is None)
    beats = f"Its skill, {skill}, lies above 0."
    if champion_name is None:
        return Decision("champion", f"{beats} There is no earlier champion to compare with.")
    if champion is None:
        return Decision("champion", f"{beats} {champion_name} left no predictions to compare with.")
    both = _in_common(predictions, champion)
    if both.empty:
        return Decision(
            "champion", f"{beats} {champion_name} was evaluated on other patients, so they were not compared."
        )
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
    """Mean loss of both models for each common patient; empty if the labels show that the ids mean other patients."""
    new, old = _losses(predictions), _losses(champion)
    both = new.join(old, how="inner", lsuffix="_new", rsuffix="_old")
    agree = both["label_new"] == both["label_old"]
    return both[agree] if len(both) and agree.mean() >= MIN_LABEL_AGREEMENT else both.iloc[:0]


def _losses(predictions: pd.DataFrame) -> pd.DataFrame:
    if missing := [name for name in PREDICTION_COLUMNS if name not in predictions.columns]:
        raise ValueError(f"predictions: expected the columns {', '.join(PREDICTION_COLUMNS)}; missing: {missing}")
    loss = log_losses(predictions["label"], predictions["probability"], LOG_LOSS_CLIP)
    table = pd.DataFrame({"id": predictions["id"].astype(str), "label": predictions["label"], "loss": loss})
    return table.groupby("id").agg(label=("label", "first"), loss=("loss", "mean"))
