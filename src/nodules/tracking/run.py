"""MLflow run of one stage: logging of parameters, inputs, metrics, files and child runs, and model registration."""

from __future__ import annotations

import getpass
import json
import numbers
import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodules.params import flatten
from nodules.tracking import provenance

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Metric

MODEL_NAME = "lung-cancer-diagnosis"
PARENT_TAG = "mlflow.parentRunId"
REASON_TAG = "alias.reason"
LONGEST_TAG = 500  # characters
LONGEST_PARAM = 6000  # characters; MLflow refuses longer ones
BATCH = 100  # parameters per request


@dataclass(frozen=True)
class StageRun:
    """An open MLflow run. Everything is stored as soon as it is logged.

    Attributes
    ----------
    client : MlflowClient
        Client of the tracking store.
    experiment_id, run_id : str
        Experiment and run.
    parent_id : str or None
        Run of the pipeline execution; None if the stage runs on its own.
    """

    client: MlflowClient
    experiment_id: str
    run_id: str
    parent_id: str | None

    def log_params(self, settings: Any) -> None:
        """Log settings (a dataclass or mapping) as parameters with dotted names.

        If a value is too long for MLflow, it is cut, and all settings are also stored in ``settings.json``.
        """
        params = {name: str(value) for name, value in flatten(settings).items()}
        _log_params(self.client, self.run_id, params)
        if any(len(value) > LONGEST_PARAM for value in params.values()):
            self.client.log_dict(self.run_id, params, "settings.json")

    def log_inputs(self, paths: Sequence[Path], lock: Path = provenance.LOCK_PATH) -> None:
        """Log input files and folders as data sets, with their hashes from DVC."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        datasets = []
        for path, md5 in provenance.input_md5s(paths, lock).items():
            source = json.dumps({"uri": path.as_posix()})
            dataset = Dataset(name=path.as_posix(), digest=md5 or "unknown", source_type="local", source=source)
            tags = [InputTag("mlflow.data.context", "input")] + ([InputTag("dvc.md5", md5)] if md5 else [])
            datasets.append(DatasetInput(dataset, tags))
        if datasets:
            self.client.log_inputs(self.run_id, datasets)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log the numbers of a nested dict with dotted names; text, lists and None are left out."""
        self.client.log_batch(self.run_id, metrics=_metrics(metrics, step or 0))

    def log_epoch(self, epoch: int, metrics: Mapping[str, Any]) -> None:
        """Log the metrics of one epoch of training."""
        self.log_metrics(metrics, step=epoch)

    def log_headline(self, metrics: Mapping[str, Any]) -> None:
        """Log metrics on this run and on its parent run, where pipeline executions are compared."""
        for run_id in filter(None, (self.run_id, self.parent_id)):
            self.client.log_batch(run_id, metrics=_metrics(metrics, 0))

    def log_figure(self, picture: Figure | Path, name: str) -> None:
        """Log a Matplotlib figure or a picture file as ``pictures/<name>``."""
        _log_picture(self.client, self.run_id, picture, name)

    def log_table(self, table: pd.DataFrame, name: str) -> None:
        """Log a table as ``tables/<name>.csv``."""
        self.client.log_text(self.run_id, table.to_csv(index=False), f"tables/{name}.csv")

    def log_text(self, text: str, name: str) -> None:
        """Log a text as the artifact `name`; MLflow's pages render HTML."""
        self.client.log_text(self.run_id, text, name)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Log a file, or all files of a folder, into `folder` of the run's artifacts."""
        log = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        log(self.run_id, str(path), folder)

    def log_child_run(
        self,
        name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, Any],
        *,
        tags: Mapping[str, str] | None = None,
        figures: Mapping[str, Figure | Path] | None = None,
        files: Sequence[Path] = (),
        texts: Mapping[str, str] | None = None,
        status: str = "FINISHED",
        started: datetime | None = None,
        ended: datetime | None = None,
    ) -> str:
        """Record a child run that has already ended, such as one classifier or one trial.

        Parameters
        ----------
        name : str
            Name of the child run.
        params, metrics : mapping
            Its parameters and metrics, which may be nested.
        tags : mapping, optional
            Further tags.
        figures : mapping, optional
            Figures or picture files by name, stored as ``pictures/<name>``.
        files : sequence of Path
            Files to store.
        texts : mapping, optional
            Texts to store, by file name.
        status : str
            FINISHED, FAILED or KILLED (a pruned trial).
        started, ended : datetime, optional
            Times of a trial that ran elsewhere; by default, now. Times without a zone are local, like Optuna's.

        Returns
        -------
        str
            Id of the child run.
        """
        start_ms, end_ms = (int(t.timestamp() * 1000) if t else None for t in (started, ended))
        run_tags = {PARENT_TAG: self.run_id, "mlflow.user": getpass.getuser()} | dict(tags or {})
        run_id = self.client.create_run(self.experiment_id, start_ms, run_tags, name).info.run_id
        _log_params(self.client, run_id, {key: str(value) for key, value in flatten(params).items()})
        self.client.log_batch(run_id, metrics=_metrics(metrics, 0))
        for title, picture in (figures or {}).items():
            _log_picture(self.client, run_id, picture, title)
        for file in files:
            self.client.log_artifact(run_id, str(file))
        for title, text in (texts or {}).items():
            self.client.log_text(run_id, text, title)
        self.client.set_terminated(run_id, status, end_ms)
        return str(run_id)

    def register(
        self,
        model_folder: Path,
        metrics: Mapping[str, Any],
        name: str = MODEL_NAME,
        alias: str | None = "champion",
        reason: str = "",
    ) -> str:
        """Store a saved MLflow model, register it and point an alias to it.

        Parameters
        ----------
        model_folder : Path
            Folder written by ``mlflow.pyfunc.save_model``.
        metrics : mapping
            Metrics of this model, stored with it.
        name : str
            Name to register the model under.
        alias : str or None
            Alias that moves to this version, so that ``models:/<name>@<alias>`` loads it. None moves no alias.
        reason : str
            Why the version gets that alias. Stored as the version's description and as its tag ``alias.reason``.

        Returns
        -------
        str
            Number of the new version.
        """
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        model_id = self.client.create_logged_model(self.experiment_id, name, self.run_id).model_id
        self.client.log_model_artifacts(model_id, str(model_folder))
        with tempfile.TemporaryDirectory() as folder:  # the same model description with the new ids
            model = Model.load(str(model_folder))
            model.model_id, model.run_id = model_id, self.run_id
            model.save(str(Path(folder) / "MLmodel"))
            self.client.log_model_artifacts(model_id, folder)
        self.client.finalize_logged_model(model_id, "READY")
        self.client.log_outputs(self.run_id, [LoggedModelOutput(model_id, step=0)])
        self.client.log_batch(self.run_id, metrics=_metrics(metrics, 0, model_id))
        version = _new_version(self.client, name, model_id, self.run_id, alias)
        if reason:
            self.client.update_model_version(name, version, reason)
            self.client.set_model_version_tag(name, version, REASON_TAG, reason[:LONGEST_TAG])
        return version

    def registered_text(self, alias: str, artifact: str, name: str = MODEL_NAME) -> tuple[str, str | None] | None:
        """Find the model version with an alias, and read a text artifact of the run that registered it.

        Parameters
        ----------
        alias : str
            Alias of the version, such as ``champion``.
        artifact : str
            Path of the text within that run.
        name : str
            Name of the registered model.

        Returns
        -------
        (str, str or None) or None
            Version and text. The text is None if the run has no such artifact or its store cannot be reached. None if
            no version has that alias.
        """
        from mlflow.exceptions import MlflowException

        try:
            version = self.client.get_model_version_by_alias(name, alias)
        except MlflowException:
            return None
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = self.client.download_artifacts(str(version.run_id), artifact, folder)
                return str(version.version), Path(file).read_text(encoding="utf-8")
        except (MlflowException, OSError):
            return str(version.version), None


def _metrics(metrics: Mapping[str, Any], step: int, model_id: str | None = None) -> list[Metric]:
    from mlflow.entities import Metric

    now_ms = int(time.time() * 1000)
    return [
        Metric(_allowed(name), float(value), now_ms, step, model_id=model_id)
        for name, value in flatten(metrics).items()
        if isinstance(value, numbers.Real)
    ]


def _log_params(client: MlflowClient, run_id: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    entries = [Param(_allowed(name), value[:LONGEST_PARAM]) for name, value in params.items()]
    for start in range(0, len(entries), BATCH):
        client.log_batch(run_id, params=entries[start : start + BATCH])


def _log_picture(client: MlflowClient, run_id: str, picture: Figure | Path, name: str) -> None:
    if not isinstance(picture, Path):
        client.log_figure(run_id, picture, f"pictures/{name}.png")
        return
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder) / f"{name}{picture.suffix}"
        shutil.copy2(picture, named)
        client.log_artifact(run_id, str(named), "pictures")


def _new_version(client: MlflowClient, name: str, model_id: str, run_id: str, alias: str | None) -> str:
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(name, f"models:/{model_id}", run_id, model_id=model_id).version
    if alias:
        client.set_registered_model_alias(name, alias, version)
    return str(version)


def _allowed(name: str) -> str:
    """Replace the characters that MLflow refuses in a name, such as the @ of ``sensitivity@1``."""
    return re.sub(r"[^\w\-. :/]", "_", name)
