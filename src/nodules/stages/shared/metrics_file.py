"""Write the JSON files that `dvc metrics` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """Write numbers, nested or not, rounded to 6 decimals so that a diff does not show rounding errors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded(metrics), indent=2) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(inner) for name, inner in value.items()}
    return round(float(value), 6) if isinstance(value, float) else value
