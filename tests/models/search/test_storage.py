"""The places in which trials are kept."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from nodules.models.search.storage import Place, opened


def values(place: Place, name: str = "study", add: float | None = None) -> list[float | None]:
    """Values of the trials in a study there, after one more trial."""
    with opened(place, for_processes=True) as storage:
        study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
        if add is not None:
            study.optimize(lambda trial: add + 0 * trial.suggest_float("x", 0, 1), n_trials=1)
        return [trial.value for trial in study.trials]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("place", ["journal", "sqlite"])
def test_trials_are_found_again_under_the_name_of_their_study(tmp_path, place) -> None:
    where = {"journal": tmp_path / "a" / "journal.log", "sqlite": f"sqlite:///{tmp_path}/a.db"}[place]
    assert values(where, add=1.0) == [1.0]
    assert values(where, add=2.0) == [1.0, 2.0]
    assert values(where) == [1.0, 2.0]
    assert values(where, "another") == []


@pytest.mark.parametrize("for_processes", [False, True])
def test_without_a_place_nothing_stays(for_processes) -> None:
    for _ in range(2):
        with opened(None, for_processes=for_processes) as storage:
            assert optuna.get_all_study_names(storage) == []
            optuna.create_study(storage=storage, study_name="study")
            assert optuna.get_all_study_names(storage) == ["study"]


def test_journal_is_held_by_one_process_at_a_time_and_freed_by_its_death(tmp_path) -> None:
    journal = tmp_path / "journal.log"
    program = (
        "import sys, time; from pathlib import Path; from nodules.models.search.storage import opened\n"
        "with opened(Path(sys.argv[1]), for_processes=True): print('held', flush=True); time.sleep(600)"
    )

    def another() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", program, str(journal)], stdout=subprocess.PIPE, text=True)

    holder = another()
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    waits = another()
    time.sleep(3)
    holder.kill()
    killed = time.monotonic()
    assert waits.stdout is not None
    assert waits.stdout.readline() == "held\n"
    waits.kill()
    assert values(journal, add=1.0) == [1.0]
    assert time.monotonic() - killed < 15
    for process in (holder, waits):
        process.wait()


def test_a_torn_line_is_cut_and_nothing_else(tmp_path) -> None:
    journal: Path = tmp_path / "journal.log"
    values(journal, add=1.0)
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"worker')
    assert values(journal, add=2.0) == [1.0, 2.0]
    assert journal.read_bytes().startswith(whole)
    assert b'{"op_code":4,"worker{' not in journal.read_bytes()
    assert values(journal) == [1.0, 2.0]


def test_optuna_alone_cannot_go_on_after_a_torn_line(tmp_path) -> None:
    """Once it can, `opened` need not cut the line any more."""
    journal: Path = tmp_path / "journal.log"
    values(journal, add=1.0)
    journal.write_bytes(journal.read_bytes() + b'{"op_code":4,"worker')
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    study = optuna.load_study(study_name="study", storage=optuna.storages.JournalStorage(backend))
    with pytest.raises((ValueError, AttributeError)):
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
