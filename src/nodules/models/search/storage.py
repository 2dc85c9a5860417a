"""Where the finished trials of a study are kept: in memory, in a journal file, or in a database."""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial

from nodules.models.search.single_trial import Direction

Place = Path | str | None
"""Journal file, URL of a database, or memory."""

INDEX = "index"
TRIES = 5

T = TypeVar("T")


@dataclass(frozen=True)
class TrialStore:
    """The finished trials of a study by their number.

    That is their user attribute ``index``; Optuna's own numbers tell in which order they ended.

    Attributes
    ----------
    finished_study : optuna.Study
        Holds finished trials only, in the order in which they ended.
    claims_study : optuna.Study
        For `TrialClaims`.
    """

    finished_study: optuna.Study
    claims_study: optuna.Study

    @classmethod
    def open(cls, place: Place, name: str, direction: Direction) -> TrialStore:
        """Open or make the study of this name.

        Raises
        ------
        ConnectionError
            If the database does not answer.
        ImportError
            If the database's driver is not installed.
        """
        storage = _storage(place)
        study = optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
        claims = optuna.create_study(storage=storage, study_name=f"{name}-claims", load_if_exists=True)
        return cls(study, claims)

    def finished(self) -> dict[int, FrozenTrial]:
        """Return all trials by number; should one have been added twice at once, the earlier one."""
        found: dict[int, FrozenTrial] = {}
        for trial in self.finished_study.get_trials(deepcopy=False):
            found.setdefault(trial.user_attrs[INDEX], trial)
        return found

    def add(self, number: int, trial: FrozenTrial) -> None:
        """Keep a finished trial, unless it is there: another machine may have run it as well, with the same result."""
        if number not in self.finished():
            trial.set_user_attr(INDEX, number)
            self.finished_study.add_trial(trial)


def _storage(place: Place) -> BaseStorage:
    if place is None:
        return InMemoryStorage()
    if isinstance(place, str):
        return _database(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = _FileLock(place.with_name(f"{place.name}.lock"))
    lock.acquire()
    try:
        _cut_torn_line(place)
    finally:
        lock.release()
    return JournalStorage(JournalFileBackend(str(place), lock))


class _FileLock(JournalFileOpenLock):
    """A lock that ends with the process that holds it: Optuna's own stand for half a minute after a kill."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._held: IO[bytes] | None = None

    def acquire(self) -> bool:
        file = self._path.open("ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        self._held = file  # nobody else sets it until `release`
        return True

    def release(self) -> None:
        file, self._held = self._held, None
        if file is not None:
            file.close()


def _cut_torn_line(journal: Path) -> None:
    """Drop a last line that a power cut left half written: the next one would be glued to it and spoil the file."""
    if not journal.exists():
        return
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
        # A trial may last longer than the database keeps a silent connection.
        return _tried(lambda: RDBStorage(url, engine_kwargs={"pool_pre_ping": True}))
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
