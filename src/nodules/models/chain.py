"""Layout of a diagnosis chain on disk: the names of its parts, and the folder that holds them.

This module imports no library for learning, so that a command can report a missing model at once.
"""

from __future__ import annotations

from pathlib import Path

SETTINGS_FILE = "diagnosis.json"
SEGMENTER = "segmenter"
REDUCER = "false_positive_reduction"
CLASSIFIER = "classifier"
MALIGNANCY = "malignancy"


class ChainError(ValueError):
    """A folder does not hold the parts of a diagnosis chain."""


def chain_folder(model: Path) -> Path:
    """Return the folder of the diagnosis chain inside the folder of a packaged MLflow model."""
    return model / "artifacts" / "chain"


def find_chain(folder: Path) -> Path | None:
    """Return the folder of the chain in a packaged model, or `folder` if it is a chain itself, or None."""
    if chain_folder(folder).is_dir():
        return chain_folder(folder)
    return folder if (folder / SETTINGS_FILE).is_file() else None


def is_part_of_chain(folder: Path) -> bool:
    """Whether the folder of a segmenter lies in a chain."""
    return (folder.parent / SETTINGS_FILE).is_file()


def has_classifier(chain: Path) -> bool:
    """Whether a chain has a classifier of cancer."""
    return (chain / CLASSIFIER).is_dir()


def has_rater(chain: Path) -> bool:
    """Whether a chain has a network that rates the malignancy of nodules."""
    return (chain / MALIGNANCY).is_dir()


def check_chain(chain: Path) -> None:
    """Check that a chain is complete: settings and both networks.

    Raises
    ------
    ChainError
        Naming what is missing.
    """
    needed = (SETTINGS_FILE, SEGMENTER, REDUCER)
    if missing := [name for name in needed if not (chain / name).exists()]:
        raise ChainError(f"{chain}: incomplete model: expected {', '.join(needed)}; missing: {', '.join(missing)}")
