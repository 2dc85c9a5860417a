from __future__ import annotations

from typing import Any

import pytest

from nodules import progress


def _told(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.split("\r")[-1]


def test_a_bar_goes_on_where_the_work_was_left(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar("lungs", 4, "scan", done=3) as bar:
        bar.update()

    assert "lungs: 100%" in (line := _told(capsys)) and "4/4" in line
    assert (bar.n, bar.initial) == (4, 3)


def test_epochs_are_logged_and_shown_with_their_losses(capsys: pytest.CaptureFixture[str]) -> None:
    logged: list[tuple[int, dict[str, float]]] = []

    with progress.epochs("train_unet", 2, lambda *epoch: logged.append(epoch)) as log_epoch:
        log_epoch(1, {"loss": 0.5, "val_loss": 0.25, "learning_rate": 1e-3})
        log_epoch(2, {"loss": 0.4375, "val_loss": 0.125, "learning_rate": 1e-4})

    assert logged == [
        (1, {"loss": 0.5, "val_loss": 0.25, "learning_rate": 1e-3}),
        (2, {"loss": 0.4375, "val_loss": 0.125, "learning_rate": 1e-4}),
    ]
    line = _told(capsys)
    assert "train_unet: 100%" in line and "2/2" in line
    assert "loss=0.438, val_loss=0.125" in line and "learning_rate" not in line


def test_a_training_that_goes_on_reckons_its_time_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[Any] = []
    made = progress.bar
    monkeypatch.setattr(progress, "bar", lambda *asked: bars.append(made(*asked)) or bars[0])

    with progress.epochs("train_unet", 46, lambda *_: None) as log_epoch:
        log_epoch(31, {"loss": 0.5})
        log_epoch(32, {"loss": 0.5})

    assert (bars[0].n, bars[0].initial) == (32, 30)
