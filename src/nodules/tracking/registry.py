"""Results of earlier runs, read back from MLflow: the newest registered model, and files of finished runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from nodules.tracking.run import MODEL_NAME
from nodules.tracking.stage import experiment_name, tracking_client, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"


@dataclass(frozen=True)
class RegisteredModel:
    """A registered model version.

    Attributes
    ----------
    version : str
        Version number.
    aliases : tuple of str
        Aliases that point to the version, in alphabetical order.
    reason : str
        Why the version got its alias.
    """

    version: str
    aliases: tuple[str, ...]
    reason: str


def newest_model(name: str = MODEL_NAME) -> RegisteredModel | None:
    """Find the most recently registered version of a model.

    Returns
    -------
    RegisteredModel or None
        None if no model is registered under that name.

    Raises
    ------
    TrackingError
        If the tracking store does not answer.
    """
    with _existing_store() as client:
        versions = client.search_model_versions(f"name = '{name}'") if client else []
        if not versions:
            return None
        newest = max(versions, key=lambda version: int(version.version))
        aliases = client.get_registered_model(name).aliases if client else {}
    pointing = tuple(sorted(alias for alias, version in aliases.items() if int(version) == int(newest.version)))
    return RegisteredModel(str(newest.version), pointing, newest.description or "")


def newest_file(stage: str, name: str) -> Path | None:
    """Find an artifact of the last finished run of a stage.

    Parameters
    ----------
    stage : str
        Name of the stage.
    name : str
        Path of the artifact within the run.

    Returns
    -------
    Path or None
        None if there is no such run or file, or if the artifacts are stored on another machine.

    Raises
    ------
    TrackingError
        If the tracking store does not answer.
    """
    with _existing_store() as client:
        experiment = client.get_experiment_by_name(experiment_name()) if client else None
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
def _existing_store() -> Iterator[MlflowClient | None]:
    """Yield a client, or None if the project's own database does not exist yet: a client would create it."""
    uri = tracking_uri()
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        yield None
        return
    with tracking_client() as client:
        yield client
