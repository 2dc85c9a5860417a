"""The command line of a stage: one named option for each parameter of its function `main`."""

from __future__ import annotations

import inspect
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

METAVARS = {Path: "PATH", int: "NUMBER", str: "NAME"}


def run(main: Callable[..., None], arguments: Sequence[str] | None = None) -> None:
    """Call `main` with the options of a command line.

    Parameters
    ----------
    main : callable
        Takes keyword-only parameters. ``luna_root: Path`` becomes the option ``--luna-root PATH``, which is required
        unless the parameter has a default. The type is `Path`, `int`, `str`, or a `Literal` of the allowed values.
    arguments : sequence of str, optional
        Default: the arguments of this process.

    Raises
    ------
    SystemExit
        If an option is missing, unknown or of the wrong type, or after ``--help``.
    TypeError
        If a parameter is not keyword-only or has another type.
    """
    main(**vars(_parser(main).parse_args(arguments)))


def _parser(main: Callable[..., None]) -> ArgumentParser:
    parser = ArgumentParser(_program(main), description=_first_paragraph(main), allow_abbrev=False)
    hints = get_type_hints(main)
    for name, parameter in inspect.signature(main).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY:
            raise TypeError(f"{main.__module__}.main: the parameter {name} must be keyword-only")
        required = parameter.default is parameter.empty
        default = None if required else parameter.default
        parser.add_argument(
            f"--{name.replace('_', '-')}", required=required, default=default, **_type(main, name, hints.get(name))
        )
    return parser


def _type(main: Callable[..., None], name: str, hint: Any) -> dict[str, Any]:
    if get_origin(hint) is Literal:
        values = get_args(hint)
        return {"type": type(values[0]), "choices": values}
    if hint not in METAVARS:
        raise TypeError(
            f"{main.__module__}.main: the parameter {name} must be a Path, an int, a str or a Literal, got {hint}"
        )
    return {"type": hint, "metavar": METAVARS[hint]}


def _program(main: Callable[..., None]) -> str | None:
    """The command as it was typed; if `python -m` runs a module, only the module's spec has its full name."""
    spec = main.__globals__.get("__spec__")
    return f"python -m {spec.name}" if spec else None


def _first_paragraph(main: Callable[..., None]) -> str:
    return (inspect.getdoc(main) or "").split("\n\n")[0]
