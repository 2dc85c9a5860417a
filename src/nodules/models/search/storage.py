"""Storage of Optuna trials: in memory, in a journal file, or in a database."""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import (
    BaseStorage,
    InMemoryStorage,
    JournalStorage,
    RDBStorage,
    RetryHeartbeatStaleTrialCallback,
)
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial

Place = Path | str | None
"""Journal file, URL of a database, or memory."""

HEARTBEAT_S = 15
STALE_S = 120
TRIES = 5

T = TypeVar("T")


class TryAgain(RetryHeartbeatStaleTrialCallback):
    """Queue an unfinished trial again, without its settings: the sampler draws the same ones from the start.

    A trial killed between two of its settings would otherwise draw the second one as if it were the first.
    """

    def __call__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Queue a copy of `trial` that names it as its first attempt."""
        trial.params, trial.distributions, trial.user_attrs = {}, {}, {}
        super().__call__(study, trial)


def is_stale(started: datetime) -> bool:
    """Tell whether a trial without a heartbeat started so long ago that its process must have died."""
    return datetime.now() - started > timedelta(seconds=STALE_S)


@contextmanager
def opened(place: Place, *, for_processes: bool) -> Iterator[BaseStorage]:
    """Open the storage; one in memory becomes a temporary journal file if other processes must reach it.

    A journal file belongs to one launcher at a time; a second one waits here until the first has ended.

    Raises
    ------
    ConnectionError
        If the database does not answer.
    ImportError
        If the database's driver is not installed.
    ValueError
        If `place` is a string and no URL.
    """
    if isinstance(place, str):
        yield _database(place)
    elif place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX)  # ends with this process, however it ends
            _cut_torn_line(place)
            yield _journal(place)
    elif for_processes:
        with TemporaryDirectory() as folder:
            yield _journal(Path(folder) / "trials.log")
    else:
        yield InMemoryStorage()


def _journal(path: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(path), _WriterLock(f"{path}.writer")))


class _WriterLock(JournalFileOpenLock):
    """Ends with the process that holds it; Optuna's own locks hold all others up for half a minute after a kill."""

    def acquire(self) -> bool:
        self._held = Path(self._lock_file).open("ab")  # noqa: SIM115 - until `release`
        fcntl.flock(self._held, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        self._held.close()
        del self._held


def _cut_torn_line(journal: Path) -> None:
    """Drop a last line that a power cut left half written: Optuna 5 appends to it and can read the file no more."""
    whole = journal.read_bytes().rfind(b"\n") + 1
    if whole < journal.stat().st_size:
        with journal.open("r+b") as file:
            file.truncate(whole)


def _database(url: str) -> RDBStorage:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    try:
        shown = make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        # Not shown, nor the cause: it may hold a password.
        raise ValueError("the database must be a URL such as postgresql+psycopg://user@host/database") from None
    try:
        return _tried(
            lambda: RDBStorage(
                url,
                engine_kwargs={"pool_pre_ping": True},  # a trial may outlast a silent connection
                heartbeat_interval=HEARTBEAT_S,
                grace_period=STALE_S,
                heartbeat_stale_trial_callback=TryAgain(),
            )
        )
    except ImportError as error:
        raise ImportError(
            f"the driver of {shown} is not installed; for PostgreSQL, use the environment of `make env`, which holds "
            "it, or run `pip install -e '.[rdb]'` in the project's folder"
        ) from error
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise ConnectionError(f"the database does not answer at {shown} ({reason})") from error


def _tried(make: Callable[[], T]) -> T:
    """Try again: of several that open an empty database at once only one succeeds in making its tables."""
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    for _ in range(TRIES - 1):
        try:
            return make()
        except (IntegrityError, ProgrammingError):
            time.sleep(random.uniform(0.1, 1.0))  # noqa: S311 - only so that two do not try in step
    return make()
