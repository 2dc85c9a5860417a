from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt

from nodules.params import ParamsError, flatten, load


@dataclass(frozen=True)
class Optimizer:
    name: Literal["adam", "sgd"]
    learning_rate: Annotated[float, Gt(0)]


@dataclass(frozen=True)
class UnetParams:
    epochs: Annotated[int, Ge(1)]
    dropout: float
    augment: bool
    window_hu: tuple[float, float]
    filters: tuple[int, ...]
    checkpoint: str | None
    optimizer: Optimizer
    warm_up: tuple[Optimizer, ...]


GOOD = """
unet:
  epochs: 20
  dropout: 0
  augment: true
  window_hu: [-1000, 400]
  filters: [8, 16]
  checkpoint: null
  optimizer: {name: adam, learning_rate: 2e-05}
  warm_up: [{name: sgd, learning_rate: 1.0e-3}]
split: {seed: 7}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, *changes: tuple[str, str], cls: Any = UnetParams) -> list[str]:
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = write(tmp_path, text)
    with pytest.raises(ParamsError) as error:
        load("unet", cls, path)
    return [line.removeprefix(f"{path}: ") for line in str(error.value).splitlines()]


def test_section_becomes_the_dataclass(tmp_path):
    params = load("unet", UnetParams, write(tmp_path, GOOD))
    assert params == UnetParams(
        epochs=20,
        dropout=0.0,
        augment=True,
        window_hu=(-1000.0, 400.0),
        filters=(8, 16),
        checkpoint=None,
        optimizer=Optimizer("adam", 2e-5),
        warm_up=(Optimizer("sgd", 1e-3),),
    )
    assert isinstance(params.dropout, float)


def test_path_defaults_to_the_current_folder(tmp_path, monkeypatch):
    write(tmp_path, GOOD)
    monkeypatch.chdir(tmp_path)
    assert load("unet", UnetParams).epochs == 20


def test_message_names_file_key_wanted_and_received(tmp_path, monkeypatch):
    write(tmp_path, GOOD.replace("epochs: 20", "epochs: abc"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError) as error:
        load("unet", UnetParams)
    assert str(error.value) == "params.yaml: unet.epochs: must be an int, got 'abc' (str)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs: 20", "epochs: true"), "unet.epochs: must be an int, got True (bool)"),
        (("epochs: 20", "epochs: 20.0"), "unet.epochs: must be an int, got 20.0 (float)"),
        (("epochs: 20", "epochs: '20'"), "unet.epochs: must be an int, got '20' (str)"),
        (("epochs: 20", "epochs: 0"), "unet.epochs: must be greater than or equal to 1, got 0 (int)"),
        (("dropout: 0", "dropout: none"), "unet.dropout: must be a float, got 'none' (str)"),
        (("augment: true", "augment: yes"), "unet.augment: must be a bool (true or false), got 'yes' (str)"),
        (("augment: true", "augment: 1"), "unet.augment: must be a bool (true or false), got 1 (int)"),
        (("[-1000, 400]", "-1000"), "unet.window_hu: must be a list, got -1000 (int)"),
        (("[-1000, 400]", "[-1000]"), "unet.window_hu.1: missing"),
        (("[8, 16]", "[8, x]"), "unet.filters.1: must be an int, got 'x' (str)"),
        (("name: adam", "name: adamm"), "unet.optimizer.name: must be 'adam' or 'sgd', got 'adamm' (str)"),
        (
            ("learning_rate: 2e-05", "learning_rate: -1"),
            "unet.optimizer.learning_rate: must be greater than 0, got -1 (int)",
        ),
        (
            ("{name: adam, learning_rate: 2e-05}", "adam"),
            "unet.optimizer: must be a section of keys, got 'adam' (str)",
        ),
        (("checkpoint: null", "checkpoint: 3"), "unet.checkpoint: must be a str, got 3 (int)"),
        (("checkpoint: null", "checkpoint: 2020-01-01"), None),
    ],
)
def test_wrong_values_are_refused(tmp_path, change, message):
    if message is None:  # a date is written as the text a person sees
        assert load("unet", UnetParams, write(tmp_path, GOOD.replace(*change))).checkpoint == "2020-01-01"
    else:
        assert problems(tmp_path, change) == [message]


def test_unknown_key_is_named_with_the_nearest_and_all_known(tmp_path):
    (message,) = problems(tmp_path, ("learning_rate: 2e-05", "learning_rate: 2e-05, learning_rat: 1"))
    assert message == (
        "unet.optimizer.learning_rat: unknown key; did you mean learning_rate? known: learning_rate, name"
    )


def test_unknown_key_deep_in_a_list_is_named(tmp_path):
    (message,) = problems(tmp_path, ("learning_rate: 1.0e-3", "learning_rate: 1.0e-3, momentum: 1"))
    assert message == "unet.warm_up.0.momentum: unknown key; known: learning_rate, name"


def test_all_problems_come_in_one_message(tmp_path):
    messages = problems(tmp_path, ("epochs: 20", "epochs: abc"), ("  dropout: 0\n", ""), ("name: adam, ", ""))
    assert messages == [
        "unet.epochs: must be an int, got 'abc' (str)",
        "unet.dropout: missing",
        "unet.optimizer.name: missing",
    ]


def test_post_init_check_is_reported_with_its_section(tmp_path):
    @dataclass(frozen=True)
    class Split:
        seed: int

        def __post_init__(self) -> None:
            raise ValueError("seed must be even")

    with pytest.raises(ParamsError, match="split: seed must be even"):
        load("split", Split, write(tmp_path, GOOD))


def test_missing_section_lists_the_known_ones(tmp_path):
    with pytest.raises(ParamsError, match=r"unett: unknown section; did you mean unet\? known: split, unet"):
        load("unett", UnetParams, write(tmp_path, GOOD))


def test_empty_section_is_refused(tmp_path):
    with pytest.raises(ParamsError, match=r"unet: must be a section of keys, got None"):
        load("unet", UnetParams, write(tmp_path, "unet:\n"))


def test_missing_file_says_where_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match=r"params\.yaml: no such file in .*; run from the project folder"):
        load("unet", UnetParams)


@pytest.mark.parametrize(
    ("text", "message"),
    [("unet: {a: 1", "not readable as YAML"), ("a: 1\na: 2\n", "not readable as YAML"), ("", "got NoneType")],
)
def test_broken_files_are_refused(tmp_path, text, message):
    with pytest.raises(ParamsError, match=message):
        load("unet", UnetParams, write(tmp_path, text))


def test_flatten_joins_names_with_dots(tmp_path):
    params = load("unet", UnetParams, write(tmp_path, GOOD))
    flat = flatten({"unet": params, "seed": 7})
    assert flat["unet.optimizer.learning_rate"] == 2e-5
    assert flat["unet.window_hu"] == (-1000.0, 400.0)
    assert flat["seed"] == 7
    assert flatten(Optimizer("sgd", 0.1)) == {"name": "sgd", "learning_rate": 0.1}


def test_a_section_under_its_former_name_is_said_to_be_renamed(tmp_path):
    path = write(tmp_path, "rescorer: {name: adam, learning_rate: 0.1}")
    with pytest.raises(ParamsError, match="'rescorer' is now called 'false_positive_reduction'; rename it"):
        load("false_positive_reduction", Optimizer, path)
