"""Recording of a stage as an MLflow run, below one parent run per pipeline execution; access to the tracking store."""

from __future__ import annotations

import getpass
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodules.tracking import provenance
from nodules.tracking.run import LONGEST_TAG, PARENT_TAG, StageRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = [
    "StageRun",
    "TrackingError",
    "experiment_name",
    "redacted_uri",
    "stage_run",
    "tracking_client",
    "tracking_uri",
]

EXPERIMENT = "lung-cancer"
PROCESS_TAG = "process"
EXECUTION_TAG = "pipeline.execution"
FAILED_TAG = "pipeline.failed"
KIND_TAG = "mlflow.experimentKind"  # without it, the UI opens the experiment with its pages for language models
SYSTEM_SAMPLING_S = 5.0


class TrackingError(RuntimeError):
    """The tracking store does not answer."""


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or the URI of this project's SQLite file if it is not set.

    Two processes must not create the SQLite file at the same time. DVC runs stages one after another.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{provenance.project_root() / 'mlflow.db'}"


def redacted_uri() -> str:
    """Return the tracking URI for display, with any user name and password replaced by ``***``."""
    return _without_user(tracking_uri())


def experiment_name() -> str:
    """Return MLFLOW_EXPERIMENT_NAME, or this project's default if it is not set."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


@contextmanager
def stage_run(
    stage: str, settings: Any, inputs: Sequence[Path] = (), lock: Path = provenance.LOCK_PATH
) -> Iterator[StageRun]:
    """Record one stage as a run below the run of its pipeline execution.

    The parent is the run that ``mlflow run`` opened (MLFLOW_RUN_ID), or a run shared by all stages of the same
    ``dvc repro`` or ``dvc exp run``. Without either, the run has no parent. CPU, memory and GPU load are sampled unless
    MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is false.

    Parameters
    ----------
    stage : str
        Name of the run.
    settings : dataclass or mapping
        Logged as parameters with dotted names.
    inputs : sequence of Path
        Files and folders as dvc.yaml names them. They are logged as data sets, with their hashes from dvc.lock.
    lock : Path
        The pipeline's dvc.lock.

    Yields
    ------
    StageRun
        The open run.

    Raises
    ------
    TrackingError
        If the tracking store does not answer.
    """
    client, experiment_id = _connect()
    _close_killed(client, experiment_id)
    outer_run_id = os.environ.pop("MLFLOW_RUN_ID", None)  # otherwise all runs below would join that run
    try:
        parent = _parent(client, experiment_id, outer_run_id)
        run = _start(client, parent.info.experiment_id if parent else experiment_id, stage, parent, lock)
        with _recorded(run, owns_parent=not outer_run_id), _system_metrics(run.run_id):
            run.log_params(settings)
            run.log_inputs(inputs, lock)
            yield run
    finally:
        if outer_run_id:
            os.environ["MLFLOW_RUN_ID"] = outer_run_id


def _connect() -> tuple[MlflowClient, str]:
    """Return a client and the experiment's id; raise TrackingError if the store does not answer within seconds."""
    with tracking_client() as client:
        return client, _experiment_id(client, experiment_name())


@contextmanager
def tracking_client() -> Iterator[MlflowClient]:
    """Yield a client of the tracking store.

    Raises
    ------
    TrackingError
        If the store does not answer within seconds.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # this process handles patient data: send no telemetry
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # uploads are local and fast
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        with _short_timeouts():
            yield MlflowClient(tracking_uri())
    except (MlflowException, OSError) as error:
        reason = _without_user(str(error).splitlines()[0])
        raise TrackingError(
            f"MLflow does not answer at {redacted_uri()} ({reason}). Start that server, set MLFLOW_TRACKING_URI to "
            "another one, or unset it to use the project's own mlflow.db"
        ) from error


@contextmanager
def _short_timeouts() -> Iterator[None]:
    """Let the first request fail within seconds. MLflow's default of minutes suits a server that restarts later on."""
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
    added = {name: value for name, value in limits.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for variable in added:
            del os.environ[variable]


def _without_user(text: str) -> str:
    return re.sub(r"://[^/\s]*@", "://***@", text)


def _experiment_id(client: MlflowClient, name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        own_store = not os.environ.get("MLFLOW_TRACKING_URI")
        location = (provenance.project_root() / "mlruns" / name).as_uri() if own_store else None
        return client.create_experiment(name, location, {KIND_TAG: "custom_model_development"})
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def _parent(client: MlflowClient, experiment_id: str, outer_run_id: str | None) -> Run | None:
    if outer_run_id:
        return client.get_run(outer_run_id)
    execution = provenance.pipeline_execution()
    if execution is None:
        return None
    found = _runs_of(client, experiment_id, execution)
    if found:
        client.update_run(found[0].info.run_id, "RUNNING")
        return found[0]
    started = datetime.fromtimestamp(execution.started, UTC).astimezone()
    name = os.environ.get("DVC_EXP_NAME") or f"repro {started:%Y-%m-%d %H:%M}"
    tags = {key: value for key, value in provenance.run_tags().items() if key != "dvc.stage"}
    tags |= {EXECUTION_TAG: execution.process, PROCESS_TAG: execution.process, "mlflow.user": getpass.getuser()}
    return client.create_run(experiment_id, int(execution.started * 1000), tags, name)


def _runs_of(client: MlflowClient, experiment_id: str, execution: provenance.PipelineExecution) -> Sequence[Run]:
    earliest, latest = (int(1000 * (execution.started + sign * provenance.CLOCK_TOLERANCE_S)) for sign in (-1, 1))
    started = f"attributes.start_time >= {earliest} AND attributes.start_time <= {latest}"
    return client.search_runs([experiment_id], f"tags.`{EXECUTION_TAG}` = '{execution.process}' AND {started}")


def _close_killed(client: MlflowClient, experiment_id: str) -> None:
    """Close the runs whose process ended without closing them (kill -9, power failure)."""
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        process = run.data.tags.get(PROCESS_TAG)
        if process and provenance.has_ended(process, run.info.start_time / 1000):
            client.set_terminated(run.info.run_id, "KILLED")


def _start(client: MlflowClient, experiment_id: str, stage: str, parent: Run | None, lock: Path) -> StageRun:
    parent_id = parent.info.run_id if parent else None
    tags = {"dvc.stage": stage} | provenance.run_tags(lock)
    tags |= {"mlflow.user": getpass.getuser(), "mlflow.source.name": sys.argv[0], "mlflow.source.type": "LOCAL"}
    tags[PROCESS_TAG] = provenance.process_name(os.getpid())
    if parent_id:
        tags[PARENT_TAG] = parent_id
    run_id = client.create_run(experiment_id, tags=tags, run_name=stage).info.run_id
    return StageRun(client, experiment_id, run_id, parent_id)


@contextmanager
def _recorded(run: StageRun, owns_parent: bool) -> Iterator[None]:
    """Close the run when its stage ends, with its status; close the parent run too, until the next stage reopens it."""
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except BaseException as error:
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        run.client.set_tag(run.run_id, "error", f"{type(error).__name__}: {error}"[:LONGEST_TAG])
        raise
    finally:
        run.client.set_terminated(run.run_id, status)
        if run.parent_id and owns_parent:
            _close_parent(run.client, run.parent_id, failed=status != "FINISHED")


def _close_parent(client: MlflowClient, parent_id: str, failed: bool) -> None:
    if failed:
        client.set_tag(parent_id, FAILED_TAG, "true")
    failed = (
        failed or FAILED_TAG in client.get_run(parent_id).data.tags
    )  # `dvc repro --keep-going` runs further stages after a failure
    client.set_terminated(parent_id, "FAILED" if failed else "FINISHED")


@contextmanager
def _system_metrics(run_id: str) -> Iterator[None]:
    if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true").lower() in {"false", "0"}:
        yield
        return
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
    monitor = SystemMetricsMonitor(run_id, SYSTEM_SAMPLING_S, tracking_uri=tracking_uri())
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
