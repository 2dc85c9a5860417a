"""A study is the same however many workers run it, however it is killed, and wherever it is kept."""

import os
import signal
import time

import pytest
from optuna.pruners import ThresholdPruner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nodules.models.search.charts import trial_table
from nodules.models.search.study import WorkerKilled
from support.bowls import FIRST, bowl, kept, started, stepwise, study_in, study_of, values_of, wait_for_trials


def journal_of(path):
    return JournalStorage(JournalFileBackend(str(path)))


class TestTrials:
    def test_published_settings_are_trial_0_and_the_best_is_no_worse(self):
        study = study_of()
        assert study.trials[0].params == FIRST
        assert study.trials[0].value == 4 + 9
        assert study.best_value < 13

    def test_exactly_the_trials_asked_for(self):
        study = study_of()
        assert [trial.number for trial in study.trials] == list(range(15))
        assert {trial.state.name for trial in study.trials} == {"COMPLETE"}

    def test_seed_decides(self):
        assert values_of(study_of()) == values_of(study_of())
        assert values_of(study_of()) != values_of(study_of(seed=8))

    def test_trials_differ_from_each_other(self):
        assert trial_table(study_of())["x"].nunique() == 15

    def test_the_search_learns(self):
        """Of 60 random points of the square of area 100 the best lies within a circle of area 100 / 60 on average."""
        study = study_of(trials=60)
        assert study.best_value < 100 / 60 / 3.14
        late = [trial.value for trial in study.trials[30:]]
        assert sorted(late)[15] < 8  # a random point has a value of 25 on average

    def test_maximize(self):
        study = study_of(lambda trial: -bowl(trial), direction="maximize")
        assert study.best_value == max(trial.value for trial in study.trials)

    def test_an_objective_sees_the_number_of_its_trial(self):
        numbers = []
        study_of(lambda trial: numbers.append(trial.number) or bowl(trial), trials=12)
        assert numbers == list(range(12))

    def test_a_trial_knows_no_other_than_those_that_lie_in_flight_back(self):
        """A change of trial 8's outcome is first seen by trial 12, though trials 9 to 11 ran later."""

        def changed(trial):
            return bowl(trial) + (-100 if trial.number == 8 else 0)

        plain = study_of(trials=30, in_flight=4, first_trials=[])
        other = study_of(changed, trials=30, in_flight=4, first_trials=[])
        same = [one.params == two.params for one, two in zip(plain.trials, other.trials, strict=True)]
        assert all(same[:12])
        assert not all(same[12:])

    def test_no_trials_or_workers_are_refused(self):
        with pytest.raises(ValueError, match="trials must be at least 1, got 0"):
            study_of(trials=0)
        with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
            study_of(workers=0)


class TestHostileObjective:
    def test_first_trial_outside_the_space_is_refused(self):
        with pytest.warns(UserWarning, match="out of range"), pytest.raises(ValueError, match=r"x = 9\.0"):
            study_of(first_trials=[{"x": 9.0}])

    def test_refused_first_trial_is_refused_again(self, tmp_path):
        for _ in range(2):
            with (
                pytest.warns(UserWarning, match="out of range"),
                pytest.raises(ValueError, match="in the search space"),
            ):
                study_of(first_trials=[{"x": 9.0}], storage=tmp_path / "journal.log")

    def test_first_trial_with_an_unknown_setting_is_refused(self):
        with pytest.raises(ValueError, match="'z'"):
            study_of(first_trials=[{"z": 1.0}])

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_objective_without_a_number_is_refused(self, value):
        with pytest.raises(ValueError, match="finite number"):
            study_of(lambda trial: value + bowl(trial))

    def test_failed_objective_ends_the_study_and_a_later_run_takes_it_up(self, tmp_path):
        def fails(trial):
            if trial.number == 6:
                raise RuntimeError("disk full")
            return bowl(trial)

        with pytest.raises(RuntimeError, match="disk full"):
            study_of(fails, storage=tmp_path / "journal.log")
        assert kept(journal_of(tmp_path / "journal.log")) == list(range(6))
        assert values_of(study_of(storage=tmp_path / "journal.log")) == values_of(study_of())


class TestJournal:
    def test_finished_study_is_found_again_without_a_trial(self, tmp_path):
        done = study_of(storage=tmp_path / "deep" / "journal.log")

        def forbidden(trial):
            raise RuntimeError("a finished study must not run again")

        again = study_of(forbidden, storage=tmp_path / "deep" / "journal.log")
        assert values_of(again) == values_of(done)
        assert again.best_params == done.best_params

    def test_more_trials_extend_and_fewer_cut(self, tmp_path):
        journal = tmp_path / "journal.log"
        study_of(trials=12, storage=journal)
        assert values_of(study_of(trials=14, storage=journal)) == values_of(study_of(trials=14))
        assert values_of(study_of(trials=5, storage=journal)) == values_of(study_of(trials=5))

    def test_other_data_start_anew(self, tmp_path):
        journal = tmp_path / "journal.log"
        study_of(trials=3, storage=journal, fingerprint="old data")
        study = study_of(lambda trial: 0 * bowl(trial), trials=3, storage=journal, fingerprint="new data")
        assert [trial.value for trial in study.trials] == [0.0] * 3

    def test_another_seed_starts_anew(self, tmp_path):
        journal = tmp_path / "journal.log"
        study_of(trials=3, storage=journal)
        assert values_of(study_of(trials=3, seed=8, storage=journal)) == values_of(study_of(trials=3, seed=8))

    @pytest.mark.parametrize("suggested", [0, 1, 2])
    @pytest.mark.parametrize("finished", [0, 4, 12])
    def test_broken_off_trial_is_tried_again_with_the_same_values(self, tmp_path, finished, suggested):
        class Killed(BaseException):
            """Not an Exception, so that nothing on the way handles it."""

        def dies(trial):
            if trial.number == finished:
                for name in ("x", "y")[:suggested]:
                    trial.suggest_float(name, -5, 5)
                raise Killed
            return bowl(trial)

        journal = tmp_path / "journal.log"
        with pytest.raises(Killed):
            study_of(dies, storage=journal)
        assert values_of(study_of(storage=journal)) == values_of(study_of())

    def test_half_written_line_is_dropped(self, tmp_path):
        journal = tmp_path / "journal.log"
        study_of(trials=4, storage=journal)
        with journal.open("a") as file:
            file.write('{"op_code":4,"worker')
        assert values_of(study_of(trials=6, storage=journal)) == values_of(study_of(trials=6))
        assert kept(journal_of(journal)) == list(range(6))


class TestWorkers:
    def test_four_workers_find_what_one_finds(self):
        def uneven(trial):
            time.sleep(0.05 * (trial.number % 3))
            return bowl(trial)

        assert values_of(study_of(uneven, trials=18, workers=4)) == values_of(study_of(trials=18))

    def test_pruning_by_four_workers_is_that_of_one(self):
        wanted = study_of(stepwise, trials=12, pruner=ThresholdPruner(upper=20))
        found = study_of(stepwise, trials=12, pruner=ThresholdPruner(upper=20), workers=4)
        assert trial_table(found).equals(trial_table(wanted))
        assert "PRUNED" in set(trial_table(found)["state"])

    def test_error_of_a_worker_is_raised_here_with_its_trace(self, tmp_path):
        def fails(trial):
            raise KeyError(f"no patient {trial.number}")

        with pytest.raises(KeyError, match="no patient") as caught:
            study_of(fails, workers=2, storage=tmp_path / "journal.log")
        assert "in fails" in str(caught.value.__cause__)

    def test_trial_that_kills_its_process_every_time_ends_the_study(self):
        def kills(trial):
            if trial.number > 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return bowl(trial)

        with pytest.raises(WorkerKilled, match="killed 3 times"):
            study_of(kills, trials=3, workers=2)

    def test_one_of_four_killed_half_way(self, tmp_path):
        process = started(tmp_path / "marks", tmp_path / "journal.log", trials=20, workers=4)
        begun = wait_for_trials(tmp_path / "marks", 10)
        os.kill(begun[-1][1], signal.SIGKILL)
        assert process.wait(120) == 0
        assert len(wait_for_trials(tmp_path / "marks", 21)) <= 24
        assert kept(journal_of(tmp_path / "journal.log")) == list(range(20))
        again = study_of(trials=20, storage=tmp_path / "journal.log")
        assert values_of(again) == values_of(study_of(trials=20))
        assert again.best_value == min(trial.value for trial in study_of(trials=20).trials)

    @pytest.mark.parametrize("workers", [1, 4])
    def test_all_processes_killed(self, tmp_path, workers):
        process = started(tmp_path / "marks", tmp_path / "journal.log", trials=20, workers=workers)
        wait_for_trials(tmp_path / "marks", 10)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(120)
        journal = journal_of(tmp_path / "journal.log")
        done = kept(journal)
        assert 5 <= len(done) < 20
        assert {trial.state.name for trial in study_in(journal).trials} == {"COMPLETE", "RUNNING"}
        calls = []
        study = study_of(lambda trial: calls.append(trial.number) or bowl(trial), 20, storage=tmp_path / "journal.log")
        assert len(calls) + len(done) == 20
        assert values_of(study) == values_of(study_of(trials=20))
        assert kept(journal) == list(range(20))
        assert {trial.state.name for trial in study_in(journal).trials} == {"COMPLETE", "FAIL"}

    def test_workers_begin_no_trial_after_the_death_of_the_process_that_started_them(self, tmp_path):
        process = started(tmp_path / "marks", tmp_path / "journal.log", trials=40, workers=2)
        wait_for_trials(tmp_path / "marks", 6)
        process.kill()
        process.wait(120)
        begun = len(wait_for_trials(tmp_path / "marks", 6))
        time.sleep(1)
        assert len(wait_for_trials(tmp_path / "marks", 6)) == begun
        assert kept(journal_of(tmp_path / "journal.log")) == list(range(begun))
        study = study_of(trials=40, storage=tmp_path / "journal.log")
        assert values_of(study) == values_of(study_of(trials=40))

    def test_of_two_processes_with_one_journal_the_second_waits_for_the_first(self, tmp_path):
        journal = tmp_path / "journal.log"
        processes = [started(tmp_path / "marks", journal, trials=20, workers=2) for _ in range(2)]
        assert [process.wait(120) for process in processes] == [0, 0]
        begun = wait_for_trials(tmp_path / "marks", 20)
        assert sorted(number for number, _ in begun) == list(range(20))
        assert kept(journal_of(journal)) == list(range(20))
        assert values_of(study_of(trials=20, storage=journal)) == values_of(study_of(trials=20))
