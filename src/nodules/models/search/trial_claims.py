"""Who runs which trial, where several processes or machines share one study."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from platform import node
from types import TracebackType
from typing import Self
from uuid import uuid4

import optuna
import psutil
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, create_trial

BEAT_S = 15.0
STALE_S = 120.0
_BEAT, _ENDED = "beat", "ended"


class TrialClaims:
    """A log of claims, kept as the trials of a study of its own, for Optuna numbers those without gap or double.

    The first claim of a trial holds it, until a claim names it as the one it takes over from, because its owner has
    gone; of several that do, again the first. All readers of the log agree, whenever they read. An owner has gone when
    it said so, when its process on this machine is no more, or when its beat stood still for `stale_s` by the reader's
    clock. A claim spares work and decides nothing: a trial run twice gives the same result twice.

    Parameters
    ----------
    study : optuna.Study
        For the claims alone.
    machine : str, optional
        Name of this machine and of its process numbers.
    beat_s, stale_s : float
        Seconds between two beats, and without one until an owner is taken for dead.
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self,
        study: optuna.Study,
        *,
        machine: str | None = None,
        beat_s: float = BEAT_S,
        stale_s: float = STALE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study, self._beat_s, self._stale_s, self._clock = study, beat_s, stale_s, clock
        self._machine = machine or _this_machine()
        process = psutil.Process()
        self.owner = f"{self._machine}|{process.pid}|{process.create_time()}|{uuid4().hex}"
        self._seen: dict[str, tuple[int, float]] = {}
        self._stop = threading.Event()
        self._heart = threading.Thread(target=self._beat_on, daemon=True)

    def __enter__(self) -> Self:
        """Begin to beat."""
        self._study.set_user_attr(f"{_BEAT} {self.owner}", 0)
        self._heart.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give up all claims; what is finished needs none."""
        self._stop.set()
        self._heart.join()
        # A storage that has gone says so in the trials; that this one gave up is then seen by its missing beat.
        with contextlib.suppress(StorageInternalError):
            self._study.set_user_attr(f"{_ENDED} {self.owner}", True)

    def take(self, number: int) -> bool:
        """Claim a trial; True if this owner holds it."""
        holder = self._holder(number)
        if holder is None or self._has_gone(holder.user_attrs["owner"]):
            after = None if holder is None else holder.number
            claim = {"trial": number, "owner": self.owner, "after": after}
            self._study.add_trial(create_trial(value=0.0, user_attrs=claim))
            holder = self._holder(number)
        return holder is not None and holder.user_attrs["owner"] == self.owner

    def _holder(self, number: int) -> FrozenTrial | None:
        holder: FrozenTrial | None = None
        for claim in self._study.get_trials(deepcopy=False):
            about = claim.user_attrs
            if about["trial"] == number and about["after"] == (None if holder is None else holder.number):
                holder = claim
        return holder

    def _has_gone(self, owner: str) -> bool:
        if owner == self.owner:
            return False
        said = self._study.user_attrs
        if f"{_ENDED} {owner}" in said:
            return True
        machine, pid, started, _ = owner.rsplit("|", 3)
        if machine == self._machine:
            return not _lives(int(pid), float(started))
        beat, now = said.get(f"{_BEAT} {owner}", 0), self._clock()
        if self._seen.get(owner, (None, now))[0] != beat:
            self._seen[owner] = beat, now
        return now - self._seen[owner][1] > self._stale_s

    def _beat_on(self) -> None:
        beats = 0
        while not self._stop.wait(self._beat_s):
            beats += 1
            # A database that restarts must not end a study of hours for want of a beat: the next one tries again.
            with contextlib.suppress(StorageInternalError):
                self._study.set_user_attr(f"{_BEAT} {self.owner}", beats)


def _this_machine() -> str:
    """Host, and the space of its process numbers: containers may share the one and not the other."""
    try:
        return f"{node()}|{os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116 - no file, a link of the kernel
    except OSError:
        return node()


def _lives(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        # A killed process stays a zombie until its parent asks for its exit code.
        return abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:  # a process of another user
        return True
