"""Claims of trials: one holder each, taken over from the dead only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import optuna
import psutil
import pytest

from nodules.models.search.trial_claims import TrialClaims


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def claims() -> Callable[..., TrialClaims]:
    """Makes owners that share one log; on machines of their own names unless told."""
    study = optuna.create_study()
    return lambda machine=None, clock=None, **times: TrialClaims(
        study, machine=machine, clock=clock or Clock(), **times
    )


def test_the_first_holds_it_and_may_ask_again(claims) -> None:
    with claims("here") as one, claims("here") as two:
        assert one.take(3)
        assert not two.take(3)
        assert one.take(3)
        assert two.take(4)


def test_many_at_once_have_one_holder_a_trial(claims) -> None:
    owners = [claims(f"machine {number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            assert sum(pool.map(lambda owner, number=number: owner.take(number), owners)) == 1


def test_who_ended_holds_nothing(claims) -> None:
    with claims("there") as one, claims("here") as two, claims("here") as three:
        assert one.take(0)
        one.__exit__(None, None, None)
        assert two.take(0)
        assert not three.take(0)


def test_who_was_killed_on_this_machine_holds_nothing(claims) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    one = claims("here")
    machine, _, _, token = one.owner.rsplit("|", 3)
    one.owner = f"{machine}|{dead.pid}|{psutil.Process(dead.pid).create_time()}|{token}"
    with claims("here") as two:
        assert one.take(0)
        assert not two.take(0)
        dead.kill()
        while psutil.Process(dead.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert two.take(0)  # not waited for yet
        assert one.take(1)
        dead.wait()
        assert two.take(1)


def test_who_has_a_dead_ones_number_is_not_the_dead_one(claims) -> None:
    one = claims("here")
    machine, pid, started, token = one.owner.rsplit("|", 3)
    one.owner = "|".join([machine, pid, str(float(started) - 100), token])
    with claims("here") as two:
        assert one.take(0)
        assert two.take(0)


def test_without_a_beat_another_machine_is_dead_in_the_end(claims) -> None:
    clock = Clock()
    silent = claims("there", beat_s=1000.0)
    with silent, claims("here", clock, stale_s=100.0) as two:
        assert silent.take(0)
        assert not two.take(0)
        clock.now = 99.0
        assert not two.take(0)
        clock.now = 101.0
        assert two.take(0)
        assert not silent.take(0)


def test_a_beating_machine_keeps_its_trials(claims) -> None:
    clock = Clock()
    with claims("there", beat_s=0.01) as beating, claims("here", clock, stale_s=100.0) as two:
        assert beating.take(0)
        assert not two.take(0)
        for _ in range(3):
            clock.now += 99.0
            before = dict(two._study.user_attrs)
            while two._study.user_attrs == before:
                pass
            assert not two.take(0)


def test_of_several_that_take_over_the_first_holds_it(claims) -> None:
    dead, one, two = (claims(name) for name in ("a", "b", "c"))
    assert dead.take(0)
    dead._study.set_user_attr(f"ended {dead.owner}", True)
    log = dead._study
    for owner in (one, two):  # both saw the dead one's claim as the last
        claim = {"trial": 0, "owner": owner.owner, "after": 0}
        log.add_trial(optuna.trial.create_trial(value=0.0, user_attrs=claim))
    assert one.take(0)
    assert not two.take(0)
