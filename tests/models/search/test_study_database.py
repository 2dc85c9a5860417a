"""Studies that several processes share through a real PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from nodules.models.search.storage import TrialStore
from support.bowls import bowl, started, study_of, values_of, wait_for_trials

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


def kept(url: str) -> list[int]:
    (name,) = [name for name in optuna.get_all_study_names(url) if not name.endswith("-claims")]
    return sorted(trial.user_attrs["index"] for trial in optuna.load_study(study_name=name, storage=url).trials)


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
        assert kept(database) == list(range(20))
        assert values_of(study_of(trials=20, storage=database)) == values_of(study_of(trials=20))

    def test_one_of_two_machines_killed(self, database, tmp_path):
        """Each on its own: the one that lives takes over what the dead one had begun."""
        dies, lives = (started(tmp_path / name, database, trials=20, workers=2) for name in ("dies", "lives"))
        wait_for_trials(tmp_path / "dies", 3)
        dies.kill()
        dies.wait(120)
        assert lives.wait(120) == 0
        assert kept(database) == list(range(20))
        assert values_of(study_of(trials=20, storage=database)) == values_of(study_of(trials=20))


class TestNoDatabase:
    def test_password_is_not_shown_where_nobody_answers(self):
        pytest.importorskip("psycopg")
        with pytest.raises(ConnectionError, match=r"postgresql\+psycopg://me:\*\*\*@127\.0\.0\.1:1/x") as caught:
            TrialStore.open("postgresql+psycopg://me:secret@127.0.0.1:1/x", "study", "minimize")
        assert "secret" not in str(caught.value)

    def test_missing_driver_is_named(self):
        with pytest.raises(ImportError, match=r"`make env`.*pip install -e '\.\[rdb\]'"):
            TrialStore.open("postgresql+pg8000://me:secret@127.0.0.1:1/x", "study", "minimize")

    def test_what_is_no_url_is_refused_and_not_repeated(self):
        with pytest.raises(ValueError, match="must be a URL such as") as caught:
            TrialStore.open("secret", "study", "minimize")
        assert "secret" not in str(caught.value)
