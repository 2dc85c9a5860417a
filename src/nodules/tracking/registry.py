"""What the tracker holds of earlier runs: the newest registered model, and where one of their files lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from nodules.tracking import stage as tracking
from nodules.tracking.run import MODEL_NAME

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"


@dataclass(frozen=True)
class RegisteredModel:
    """A registered version, the aliases that point at it, and why it got them."""

    version: str
    aliases: tuple[str, ...]
    reason: str


def newest_model(name: str = MODEL_NAME) -> RegisteredModel | None:
    """Find the version registered last.

    Returns
    -------
    RegisteredModel or None
        None if nothing was registered under that name.

    Raises
    ------
    TrackingError
        If the tracking store does not answer.
    """
    with _reading() as client:
        versions = client.search_model_versions(f"name = '{name}'") if client else []
        if not versions:
            return None
        newest = max(versions, key=lambda version: int(version.version))
        aliases = client.get_registered_model(name).aliases if client else {}
    pointing = tuple(sorted(alias for alias, version in aliases.items() if int(version) == int(newest.version)))
    return RegisteredModel(str(newest.version), pointing, newest.description or "")


def newest_file(stage: str, name: str) -> Path | None:
    """Find a file that the last finished run of a stage left in the tracker.

    Returns
    -------
    Path or None
        None if there is no such run or file, or the store keeps its files on another machine.

    Raises
    ------
    TrackingError
        If the tracking store does not answer.
    """
    with _reading() as client:
        experiment = client.get_experiment_by_name(tracking.experiment_name()) if client else None
        if client is None or experiment is None:
            return None
        finished = f"tags.`dvc.stage` = '{stage}' AND attributes.status = 'FINISHED'"
        runs = client.search_runs(
            [experiment.experiment_id], finished, max_results=1, order_by=["attributes.start_time DESC"]
        )
    place = urlparse(str(runs[0].info.artifact_uri)) if runs else None
    if place is None or place.scheme not in ("", "file"):
        return None
    file = Path(url2pathname(place.path)) / name
    return file if file.is_file() else None


@contextmanager
def _reading() -> Iterator[MlflowClient | None]:
    """Give a client, or None where the project's own database is not there yet: asking would make one."""
    uri = tracking.tracking_uri()
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        yield None
        return
    with tracking.answering_store() as client:
        yield client
