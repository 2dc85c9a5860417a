"""Errors and warnings of the command line, printed without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from nodules import params
from nodules.cli import defaults

if TYPE_CHECKING:
    from nodules.scans.result import Verdict


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """End the command with a message instead of a traceback if a scan, a table or a parameter file is invalid."""
    from nodules.scans.result import ScanError

    try:
        yield
    except ScanError as error:
        raise click.ClickException(str(error)) from error
    except params.ParamsError as error:
        remedy = f"Use another file with --params; the package's defaults are in {defaults.PACKAGED_PARAMS}"
        raise click.ClickException(f"{error}\n{remedy}") from error


def warn(verdict: Verdict) -> None:
    """Print the reasons of a verdict as warnings on stderr."""
    for reason in verdict.reasons:
        click.echo(f"warning: {reason}", err=True)
