"""Strict, typed reader of a section of params.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

T = TypeVar("T")

PARAMS_PATH = Path("params.yaml")
STRICT = ConfigDict(strict=True, extra="forbid")
FORMER_SECTIONS = {"false_positive_reduction": "rescorer"}
"""Sections that had another name in an earlier version: present name to former name."""
MUST_BE = {
    "int_type": "an int",
    "int_from_float": "an int",
    "float_type": "a float",
    "bool_type": "a bool (true or false)",
    "string_type": "a str",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a section of keys",
    "dataclass_type": "a section of keys",
}


class ParamsError(ValueError):
    """A parameter file is missing or unreadable, or has a wrong key or value."""


def load(section: str, cls: type[T], path: Path = PARAMS_PATH) -> T:
    """Read a section as an instance of the dataclass that declares its keys.

    Unknown keys are refused. No value is converted, except int to float.

    Parameters
    ----------
    section : str
        Top-level key of the file.
    cls : type
        Standard-library dataclass. Its fields may be dataclasses, tuples, literals or optional, and may have bounds of
        `annotated_types`.
    path : Path
        Parameter file in YAML 1.2, where ``2e-05`` is a number and ``yes`` is a string.

    Raises
    ------
    ParamsError
        If the file or the section is missing, or any key is unknown, missing or has a wrong value. The message lists
        all such keys.
    """
    sections = _read(path)
    if (former := FORMER_SECTIONS.get(section)) in sections and section not in sections:
        raise ParamsError(f"{path}: the section {former!r} is now called {section!r}; rename it")
    if section not in sections:
        raise ParamsError(f"{path}: {_unknown('section', section, sections)}")
    # A bare dataclass takes no config; inside a list it inherits that of the list, at every level.
    adapter = TypeAdapter(list[cls], config=STRICT)  # type: ignore[valid-type]
    try:
        # JSON, because strict mode accepts tuples and dataclasses only from JSON lists and objects.
        return adapter.validate_json(json.dumps([sections[section]], default=str))[0]
    except ValidationError as error:
        problems = [_problem(section, cls, detail) for detail in error.errors(include_url=False)]
        raise ParamsError("\n".join(f"{path}: {problem}" for problem in problems)) from None


def flatten(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Return settings (a dataclass or mapping) as a flat dict with dotted names, as MLflow's parameters need it."""
    if is_dataclass(settings) and not isinstance(settings, type):
        settings = {field.name: getattr(settings, field.name) for field in fields(settings)}
    if not isinstance(settings, Mapping):
        return {prefix: settings}
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= flatten(value, f"{prefix}.{name}" if prefix else str(name))
    return flat


def _read(path: Path) -> dict[str, Any]:
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file in {Path.cwd()}; run from the project folder") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: expected sections of parameters, got {type(content).__name__}")
    return content


def _problem(section: str, cls: type, detail: Mapping[str, Any]) -> str:
    inside = detail["loc"][1:]
    name = ".".join([section, *map(str, inside)])
    if detail["type"] == "unexpected_keyword_argument":
        return _unknown("key", name, _known_keys(cls, inside[:-1]))
    if detail["type"] == "missing":
        return f"{name}: missing"
    if detail["type"] == "value_error":  # raised by the dataclass itself
        return f"{name}: {detail['msg'].removeprefix('Value error, ')}"
    requirement = MUST_BE.get(detail["type"]) or detail["msg"].removeprefix("Input should be ")
    return f"{name}: must be {requirement}, got {detail['input']!r} ({type(detail['input']).__name__})"


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    known = sorted(map(str, known))
    close = get_close_matches(name.rsplit(".", 1)[-1], known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{name}: unknown {kind}; {hint}known: {', '.join(known)}"


def _known_keys(cls: type, inside: Iterable[int | str]) -> list[str]:
    """Field names of the dataclass that the keys `inside` lead to, starting from `cls`."""
    for name in inside:
        if isinstance(name, str) and is_dataclass(cls):
            cls = _dataclass_within(get_type_hints(cls).get(name)) or cls
    return [field.name for field in fields(cls)] if is_dataclass(cls) else []


def _dataclass_within(hint: Any) -> type | None:
    if is_dataclass(hint) and isinstance(hint, type):
        return hint
    return next((found for part in get_args(hint) if (found := _dataclass_within(part))), None)
