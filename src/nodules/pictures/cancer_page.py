"""HTML page about the cancer classifiers: the question, results in words, a table of metrics, charts and limits."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd
from matplotlib.figure import Figure

MODEL_TITLES = {
    "chosen": "chosen in each fold",
    "random_forest": "Random Forest",
    "xgboost": "XGBoost",
    "extra_trees": "ExtraTrees",
    "logistic": "logistic regression",
    "average": "average of logistic, ExtraTrees, XGBoost",
    "all_positive": "all positive",
    "all_negative": "all negative",
    "prior": "prior (same for everyone)",
}
COLUMNS = {
    "log_loss": "log-loss",
    "skill": "skill",
    "auc": "AUC",
    "brier": "Brier",
    "ece": "calibration error",
    "f1": "F1",
    "precision": "precision",
    "recall": "recall",
    "f1_tuned": "F1, own threshold",
}
_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:68em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}td,th{padding:.3em .4em;text-align:right;
border-bottom:1px solid #ddd}td{vertical-align:top}th{vertical-align:bottom}td small{white-space:nowrap}
td:first-child,th:first-child{text-align:left}p,li{max-width:52em}
small{color:#666;display:block}tr.chosen{font-weight:600;background:#eef4fb}figure{display:inline-block;margin:.5em;
vertical-align:top;max-width:100%}img{max-width:100%;height:auto}figcaption{font-size:13px;color:#555;
max-width:34em}"""


@dataclass(frozen=True)
class ResultSection:
    """Results of the models on one set of patients.

    Attributes
    ----------
    title : str
        Which patients these are, and how the models were evaluated on them.
    metrics : DataFrame
        Table of metrics from `evaluation.bootstrap`.
    highlighted : str
        The model to highlight, and to describe in words.
    """

    title: str
    metrics: pd.DataFrame
    highlighted: str


def page(
    question: Sequence[str],
    parts: Sequence[ResultSection],
    pictures: Mapping[str, Figure],
    limits: Sequence[str],
) -> str:
    """Return a self-contained HTML document, with the charts embedded.

    Parameters
    ----------
    question : sequence of str
        The question and the number of patients, one string per paragraph.
    parts : sequence of Part
        Results; each is described in words and shown as a table.
    pictures : mapping
        Charts by caption.
    limits : sequence of str
        How the numbers were obtained, and what they do not show.
    """
    body = ["<h1>Probability of lung cancer: how good are the models?</h1>", *(_paragraph(text) for text in question)]
    for part in parts:
        body += [f"<h2>{escape(part.title)}</h2>", *(_paragraph(text) for text in describe_results(part)), _table(part)]
    body += ["<h2>Charts</h2>", *(_picture(caption, figure) for caption, figure in pictures.items())]
    body += [
        "<h2>How to read these results, and their limits</h2><ul>",
        *(f"<li>{escape(text)}</li>" for text in limits),
        "</ul>",
    ]
    head = f'<meta charset="utf-8"><title>Lung cancer classifiers</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def describe_results(part: ResultSection) -> list[str]:
    """Describe the highlighted model: log-loss against the prior, AUC and calibration, one string per paragraph."""
    rows = part.metrics[part.metrics["model"] == part.highlighted].set_index("metric")
    log_loss, prior = rows.loc["log_loss"], float(rows.loc["prior_log_loss", "value"])
    name = MODEL_TITLES.get(part.highlighted, part.highlighted)
    said = [
        f"The highlighted model ({name}) has a log-loss of {_with_interval(log_loss)}; lower is better. The prior, "
        f"which gives every patient the share of patients with cancer, has {prior:.3f}. {_verdict(rows)}"
    ]
    if "auc" in rows.index and pd.notna(rows.loc["auc", "value"]):
        auc, ece = (float(rows.loc[metric, "value"]) for metric in ("auc", "ece"))
        said.append(
            f"In {auc:.0%} of the pairs of a patient with cancer and one without, the patient with cancer gets the "
            f"higher probability (AUC). On average, the probabilities are off by {ece:.3f} (calibration error)."
        )
    return said


def _verdict(rows: pd.DataFrame) -> str:
    skill = rows.loc["skill"]
    if pd.isna(skill["value"]):
        return "All patients are of one class, so there is nothing to compare."
    share = f"Its skill, the share by which it lowers that log-loss, is {_with_interval(skill)}"
    if pd.isna(skill["low"]):
        return f"{share}."
    if skill["low"] > 0:
        return f"{share}: it is better than the prior."
    if skill["high"] < 0:
        return f"{share}: it is worse than the prior."
    return f"{share}: these patients are too few to tell it from the prior."


def _table(part: ResultSection) -> str:
    metrics = [metric for metric in COLUMNS if metric in set(part.metrics["metric"])]
    head = "".join(f"<th>{escape(COLUMNS[metric])}</th>" for metric in metrics)
    rows = []
    for model, table in part.metrics.groupby("model", sort=False):
        figures = table.set_index("metric")
        cells = "".join(f"<td>{_cell(figures, metric)}</td>" for metric in metrics)
        css = ' class="chosen"' if model == part.highlighted else ""
        rows.append(f"<tr{css}><td>{escape(MODEL_TITLES.get(str(model), str(model)))}</td>{cells}</tr>")
    return f"<table><tr><th>model</th>{head}</tr>{''.join(rows)}</table>"


def _cell(figures: pd.DataFrame, metric: str) -> str:
    if metric not in figures.index or pd.isna(figures.loc[metric, "value"]):
        return ""
    row = figures.loc[metric]
    interval = "" if pd.isna(row["low"]) else f"<small>{row['low']:.3f} to {row['high']:.3f}</small>"
    return f"{row['value']:.3f}{interval}"


def _with_interval(row: pd.Series) -> str:
    interval = "" if pd.isna(row["low"]) else f" (95 %: {row['low']:.3f} to {row['high']:.3f})"
    return f"{row['value']:.3f}{interval}"


def _picture(caption: str, figure: Figure) -> str:
    png = io.BytesIO()
    figure.savefig(png, format="png")
    data = base64.b64encode(png.getvalue()).decode()
    text = escape(caption)
    width = f'style="width:{5 * figure.get_figwidth():.0f}em"'
    image = f'<img {width} alt="{text}" src="data:image/png;base64,{data}"/>'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"
