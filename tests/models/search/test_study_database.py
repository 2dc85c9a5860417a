"""Studies that several processes share through a real PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.pruners import NopPruner
from optuna.storages import RDBStorage
from optuna.trial import create_trial

from nodules.models.search import storage, study
from nodules.models.search.study import HAS_HEARTBEAT, _Search, _TooEarlyError, _View
from support.bowls import FIRST, bowl, kept, started, study_in, study_of, values_of, wait_for_trials

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
needs_postgresql = pytest.mark.skipif(not PROGRAMS, reason="no PostgreSQL below /usr/lib/postgresql: apt install it")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of a server of our own, which listens on no port; PostgreSQL refuses to run as root."""
    pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
    folder, programs = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp")), PROGRAMS[-1].parent
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    shutil.chown(folder, user)

    def run(*command: str) -> None:
        as_user = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, timeout=120, **as_user)

    run(f"{programs}/initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "nodules", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
    try:
        run(f"{programs}/pg_ctl", "-D", f"{folder}/data", "-o", options, "-l", f"{folder}/log", "-w", "start")
        yield f"postgresql+psycopg://nodules@/{{database}}?host={folder}"
    finally:
        run(f"{programs}/pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def database(server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of an empty database."""
    import psycopg

    name = f"d{abs(hash(request.node.name))}"
    host = server.split("host=")[1]
    with psycopg.connect(f"host={host} user=nodules dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.format(database=name)


@needs_postgresql
class TestPostgreSQL:
    def test_trials_are_those_of_a_study_in_memory(self, database):
        assert values_of(study_of(storage=database)) == values_of(study_of())
        calls = []
        again = study_of(lambda trial: calls.append(trial.number) or bowl(trial), trials=16, storage=database)
        assert calls == [15]
        assert values_of(again) == values_of(study_of(trials=16))

    def test_two_machines_open_an_empty_database_and_share_the_trials(self, database, tmp_path):
        processes = [started(tmp_path / "marks", database, trials=20, workers=2) for _ in range(2)]
        assert [process.wait(120) for process in processes] == [0, 0]
        begun = wait_for_trials(tmp_path / "marks", 20)
        assert sorted(number for number, _ in begun) == list(range(20))
        assert kept(RDBStorage(database)) == list(range(20))
        assert values_of(study_of(trials=20, storage=database)) == values_of(study_of(trials=20))

    def test_one_of_two_machines_killed(self, database, tmp_path):
        """Each on its own: the one that lives takes over what the dead one had begun."""
        dies, lives = (started(tmp_path / name, database, trials=20, workers=2) for name in ("dies", "lives"))
        wait_for_trials(tmp_path / "dies", 3)
        os.killpg(dies.pid, signal.SIGKILL)
        dies.wait(120)
        assert lives.wait(120) == 0
        assert kept(RDBStorage(database)) == list(range(20))
        assert values_of(study_of(trials=20, storage=database)) == values_of(study_of(trials=20))


class TestSharedStudy:
    """What several machines may do to each other, played by one through SQLite."""

    @pytest.fixture
    def database(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/trials.db"

    def test_trial_of_a_dead_machine_is_tried_again_once_its_heartbeat_is_missed(self, database, tmp_path, monkeypatch):
        machine = started(tmp_path / "marks", database, trials=8, workers=1, seconds=0.3)
        wait_for_trials(tmp_path / "marks", 3)
        os.killpg(machine.pid, signal.SIGKILL)
        machine.wait(120)
        assert len(kept(RDBStorage(database))) == 2
        monkeypatch.setattr(storage, "STALE_S", 3)
        assert values_of(study_of(trials=8, storage=database)) == values_of(study_of(trials=8))
        assert kept(RDBStorage(database)) == list(range(8))
        states = [trial.state.name for trial in study_in(RDBStorage(database)).trials]
        assert sorted(states) == ["COMPLETE"] * 8 + ["FAIL"]

    def test_trial_of_a_machine_that_died_before_its_first_heartbeat_is_tried_again(self, database, monkeypatch):
        study_of(trials=3, storage=database)
        study_in(RDBStorage(database)).ask()
        monkeypatch.setattr(study, "is_stale", lambda started: True)
        assert values_of(study_of(trials=8, storage=database)) == values_of(study_of(trials=8))
        assert kept(RDBStorage(database)) == list(range(8))

    @pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
    def test_trial_given_before_its_turn_waits_for_it(self, database, monkeypatch):
        """Another machine takes trial 1 just before this one asks, which is then given 2 and must not run it yet."""
        study_of(trials=1, in_flight=1, storage=database)
        elsewhere = study_in(RDBStorage(database), sampler=_View(7, [FIRST], 1, NopPruner()))
        running, calls, run_next = elsewhere.ask(), [], _Search.run_next
        running.set_user_attr(HAS_HEARTBEAT, True)
        value = bowl(running)

        def ask_without_a_look(search):
            monkeypatch.setattr(_Search, "run_next", run_next)
            search.study.optimize(search._checked, n_trials=1, catch=(_TooEarlyError,))
            assert calls == []
            assert [trial.state.name for trial in elsewhere.trials] == ["COMPLETE", "RUNNING", "FAIL"]
            elsewhere.tell(running, value)

        startable = _Search._startable
        monkeypatch.setattr(_Search, "_startable", lambda search: max(startable(search), 1))
        monkeypatch.setattr(_Search, "run_next", ask_without_a_look)
        found = study_of(lambda trial: calls.append(1) or bowl(trial), trials=4, in_flight=1, storage=database)
        assert values_of(found) == values_of(study_of(trials=4, in_flight=1))
        assert kept(RDBStorage(database)) == list(range(4))

    def test_of_two_outcomes_of_a_trial_the_earlier_counts(self, database):
        wanted = values_of(study_of(trials=3, storage=database))
        twice = {"failed_trial": 1, "retry_history": [1]}
        study_in(RDBStorage(database)).add_trial(create_trial(value=-99.0, system_attrs=twice))
        assert values_of(study_of(trials=3, storage=database)) == wanted
        assert values_of(study_of(trials=5, storage=database)) == values_of(study_of(trials=5))


class TestNoDatabase:
    def test_password_is_not_shown_where_nobody_answers(self):
        pytest.importorskip("psycopg")
        with pytest.raises(ConnectionError, match=r"postgresql\+psycopg://me:\*\*\*@127\.0\.0\.1:1/x") as caught:
            study_of(storage="postgresql+psycopg://me:secret@127.0.0.1:1/x")
        assert "secret" not in str(caught.value)

    def test_missing_driver_is_named(self):
        with pytest.raises(ImportError, match=r"`make env`.*pip install -e '\.\[rdb\]'"):
            study_of(storage="postgresql+pg8000://me:secret@127.0.0.1:1/x")

    def test_what_is_no_url_is_refused_and_not_repeated(self):
        with pytest.raises(ValueError, match="must be a URL such as") as caught:
            study_of(storage="secret")
        assert "secret" not in str(caught.value)
