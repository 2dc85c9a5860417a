"""Writes the table of features: `python docs/features_table.py` renews docs/features.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from nodules.imaging.features.definition import RANKS, Feature
from nodules.imaging.features.measure import FEATURES, MALIGNANCY_FEATURES

DOCUMENTED = FEATURES | MALIGNANCY_FEATURES
PAGE = Path(__file__).with_name("features.md")


def _names(features: Iterable[str]) -> str:
    return " and ".join(f"`{name}`" for name in features)


HEAD = f"""# Features

The feature table has one row per patient. Every value is finite. If a patient has no nodules, each feature takes the
default value given in its definition, and `has_candidate` is 0.

- **Regions** are the cross-sections of the nodules in single slices.
- **`nodule1_` to `nodule{RANKS}_`** are the nodules most likely to be cancers, in descending order. The order is the
  probability of being a nodule times the Brock model's probability of cancer.
- **{_names(MALIGNANCY_FEATURES)}** exist only where a network has rated the nodules as
  radiologists would. They tell what readers thought of the nodules, not what pathology found.

`python docs/features_table.py` writes this page from the docstrings of the features.

| name | unit | definition | source |
| --- | --- | --- | --- |
"""


def table() -> str:
    """The page in Markdown: a feature of all ranks is one row."""
    return HEAD + "\n".join(_rows()) + "\n"


def _rows() -> Iterator[str]:
    families = {name.removeprefix("nodule1_") for name in DOCUMENTED if name.startswith("nodule1_")}
    for name, entry in DOCUMENTED.items():
        rank, _, family = name.partition("_")
        if rank == "nodule1" and family in families:
            yield _row(f"`nodule1_{family}` ... `nodule{RANKS}_{family}`", entry)
        elif not (rank.startswith("nodule") and family in families):
            yield _row(f"`{name}`", entry)


def _row(names: str, entry: Feature) -> str:
    return f"| {names} | {entry.unit} | {entry.definition} | {entry.source} |"


if __name__ == "__main__":
    PAGE.write_text(table(), encoding="utf-8")
