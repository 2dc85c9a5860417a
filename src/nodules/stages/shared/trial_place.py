"""Where a stage keeps its trials: a journal file of this machine, or a database of several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from nodules.checkpoint import work_folder


def trial_place(stage: str, inputs: Sequence[Path]) -> Path | str:
    """URL of the database that NODULES_OPTUNA names, else a journal file in the stage's work folder.

    With the database (``postgresql+psycopg://user@host/name``) the same stage, started on several machines at once,
    shares its trials out. It is no parameter, for the machines must not change a result.
    In the database nothing but the study's fingerprint tells other data and other code apart.
    """
    return os.environ.get("NODULES_OPTUNA") or work_folder(stage, tuple(inputs)) / "trials.log"
