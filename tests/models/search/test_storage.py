"""The places in which finished trials are kept."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from optuna.trial import create_trial

from nodules.models.search.storage import TrialStore


@pytest.mark.parametrize("place", ["memory", "journal", "sqlite"])
def test_a_trial_is_kept_once_under_its_number(tmp_path, place) -> None:
    where = {"memory": None, "journal": tmp_path / "a" / "journal.log", "sqlite": f"sqlite:///{tmp_path}/a.db"}[place]
    store = TrialStore.open(where, "study", "minimize")
    for number, value in ((2, 20.0), (0, 0.5), (2, 99.0)):
        store.add(number, create_trial(value=value))
    assert {number: trial.value for number, trial in store.finished().items()} == {0: 0.5, 2: 20.0}
    assert len(store.finished_study.trials) == 2
    if where is not None:
        again = TrialStore.open(where, "study", "minimize").finished()
        assert {number: trial.value for number, trial in again.items()} == {0: 0.5, 2: 20.0}
        assert TrialStore.open(where, "another", "minimize").finished() == {}


def test_of_a_trial_added_twice_at_once_the_earlier_counts() -> None:
    store = TrialStore.open(None, "study", "minimize")
    for value in (1.0, 2.0):
        store.finished_study.add_trial(create_trial(value=value, user_attrs={"index": 0}))
    assert store.finished()[0].value == 1.0


def test_lock_of_a_killed_process_holds_nobody_up(tmp_path) -> None:
    TrialStore.open(tmp_path / "journal.log", "study", "minimize")
    program = (
        "import sys, time; from pathlib import Path; from nodules.models.search.storage import _FileLock;"
        "_FileLock(Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "journal.log.lock")], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    begun = time.monotonic()
    TrialStore.open(tmp_path / "journal.log", "study", "minimize").add(0, create_trial(value=1.0))
    holder.wait()
    assert time.monotonic() - begun < 5


def test_a_torn_line_is_cut_and_nothing_else(tmp_path) -> None:
    journal = tmp_path / "journal.log"
    TrialStore.open(journal, "study", "minimize").add(0, create_trial(value=1.0))
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"worker')
    TrialStore.open(journal, "study", "minimize")
    assert journal.read_bytes().startswith(whole)
    assert b'{"op_code":4,"worker' not in journal.read_bytes()[len(whole) :]
    store = TrialStore.open(journal, "study", "minimize")
    store.add(1, create_trial(value=2.0))
    assert sorted(TrialStore.open(journal, "study", "minimize").finished()) == [0, 1]
