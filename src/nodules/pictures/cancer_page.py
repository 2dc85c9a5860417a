"""One page about classifiers for a person who has not read the code: question, answer, table, pictures, limits."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd
from matplotlib.figure import Figure

MODEL_WORDS = {
    "chosen": "chosen in each fold",
    "random_forest": "Random Forest",
    "xgboost": "XGBoost",
    "extra_trees": "ExtraTrees",
    "logistic": "logistic regression",
    "average": "average of logistic, ExtraTrees, XGBoost",
    "all_positive": "all positive",
    "all_negative": "all negative",
    "prior": "prior (everybody alike)",
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
class Part:
    """Figures of merit on one set of patients.

    Attributes
    ----------
    title : str
        Which patients, and how the models came to be judged on them.
    judged : DataFrame
        The table of `classification_intervals.judge`.
    highlighted : str
        The model in it that counts.
    """

    title: str
    judged: pd.DataFrame
    highlighted: str


def page(
    question: Sequence[str],
    parts: Sequence[Part],
    pictures: Mapping[str, Figure],
    limits: Sequence[str],
) -> str:
    """Write a whole HTML document with the pictures inside it.

    Parameters
    ----------
    question : sequence of str
        What was asked, of how many patients; a paragraph each.
    parts : sequence of Part
        Each becomes an answer in words and a table.
    pictures : mapping
        Figure by caption.
    limits : sequence of str
        How the figures came about and what they do not say.
    """
    body = ["<h1>Probability of lung cancer: how good are the models?</h1>", *(_paragraph(text) for text in question)]
    for part in parts:
        body += [f"<h2>{escape(part.title)}</h2>", *(_paragraph(text) for text in answer_in_words(part)), _table(part)]
    body += ["<h2>Pictures</h2>", *(_picture(caption, figure) for caption, figure in pictures.items())]
    body += ["<h2>How to read this, and its limits</h2><ul>", *(f"<li>{escape(text)}</li>" for text in limits), "</ul>"]
    head = f'<meta charset="utf-8"><title>Lung cancer classifiers</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def answer_in_words(part: Part) -> list[str]:
    """Say whether the highlighted model beats the prior, how it ranks, and whether its probabilities come true."""
    rows = part.judged[part.judged["model"] == part.highlighted].set_index("metric")
    log_loss, prior = rows.loc["log_loss"], float(rows.loc["prior_log_loss", "value"])
    name = MODEL_WORDS.get(part.highlighted, part.highlighted)
    said = [
        f"The model that counts ({name}) has a log-loss of {_with_interval(log_loss)}; less is better. Giving every "
        f"patient the share of cancer would have {prior:.3f}. {_verdict(rows)}"
    ]
    if "auc" in rows.index and pd.notna(rows.loc["auc", "value"]):
        auc, ece = (float(rows.loc[metric, "value"]) for metric in ("auc", "ece"))
        said.append(
            "Of a patient with cancer and one without, it gives the former the higher probability in "
            f"{auc:.0%} of such pairs (AUC). Its probabilities are off by {ece:.3f} on average (calibration error)."
        )
    return said


def _verdict(rows: pd.DataFrame) -> str:
    skill = rows.loc["skill"]
    if pd.isna(skill["value"]):
        return "With one class only there is nothing to compare."
    share = f"Its skill, the share of that loss that it saves, is {_with_interval(skill)}"
    if pd.isna(skill["low"]):
        return f"{share}."
    if skill["low"] > 0:
        return f"{share}: better than that constant."
    if skill["high"] < 0:
        return f"{share}: worse than that constant."
    return f"{share}: on so few patients it cannot be told from that constant."


def _table(part: Part) -> str:
    metrics = [metric for metric in COLUMNS if metric in set(part.judged["metric"])]
    head = "".join(f"<th>{escape(COLUMNS[metric])}</th>" for metric in metrics)
    rows = []
    for model, table in part.judged.groupby("model", sort=False):
        figures = table.set_index("metric")
        cells = "".join(f"<td>{_cell(figures, metric)}</td>" for metric in metrics)
        css = ' class="chosen"' if model == part.highlighted else ""
        rows.append(f"<tr{css}><td>{escape(MODEL_WORDS.get(str(model), str(model)))}</td>{cells}</tr>")
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
