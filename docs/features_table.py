"""Writes the table of features: `python docs/features_table.py` renews docs/features.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nodules.imaging.features.definition import RANKS, Feature
from nodules.imaging.features.measure import FEATURES

PAGE = Path(__file__).with_name("features.md")
HEAD = f"""# Features

The feature table has one row per patient. Every value is finite. If a patient has no nodules, each feature takes the
default value given in its definition, and `has_candidate` is 0.

- **Regions** are the cross-sections of the nodules in single slices.
- **`nodule1_` to `nodule{RANKS}_`** are the nodules most likely to be cancers, in descending order. The order is the
  probability of being a nodule times the Brock model's probability of cancer.

`python docs/features_table.py` writes this page from the docstrings of the features.

| name | unit | definition | source |
| --- | --- | --- | --- |
"""


def table() -> str:
    """The page in Markdown: a feature of all ranks is one row."""
    return HEAD + "\n".join(_rows()) + "\n"


def _rows() -> Iterator[str]:
    families = {name.removeprefix("nodule1_") for name in FEATURES if name.startswith("nodule1_")}
    for name, entry in FEATURES.items():
        rank, _, family = name.partition("_")
        if rank == "nodule1" and family in families:
            yield _row(f"`nodule1_{family}` ... `nodule{RANKS}_{family}`", entry)
        elif not (rank.startswith("nodule") and family in families):
            yield _row(f"`{name}`", entry)


def _row(names: str, entry: Feature) -> str:
    return f"| {names} | {entry.unit} | {entry.definition} | {entry.source} |"


if __name__ == "__main__":
    PAGE.write_text(table(), encoding="utf-8")
