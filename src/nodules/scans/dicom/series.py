"""Which of several CT series is read, by a rule that can be told beforehand."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from nodules.scans.dicom.headers import Slice
from nodules.scans.result import ScanError


@dataclass(frozen=True)
class Choice:
    """One series out of what a source holds.

    Attributes
    ----------
    series : list of Slice
        The chosen slices, all of one series UID, all original or all derived.
    other_series : dict
        UID to number of slices of the other series that the rule could have chosen.
    derived_left_out : int
        Derived slices, of any series, that were left out because there are original ones.
    """

    series: list[Slice]
    other_series: dict[str, int]
    derived_left_out: int


def choose_series(slices: list[Slice], series_uid: str | None, label: str) -> Choice:
    """Choose the series to read.

    Original slices go before derived ones (reformatted, averaged, ...), which are chosen only where nothing else is
    there or where they are asked for; then goes the series with the most slices; of equals, the smallest UID.

    Parameters
    ----------
    slices : list of Slice
        At least one.
    series_uid : str or None
        The series that is wanted, or None to go by the rule.
    label : str
        What messages call the source.

    Raises
    ------
    ScanError
        If the wanted series is not there; the message lists those that are.
    """
    groups: defaultdict[tuple[bool, str], list[Slice]] = defaultdict(list)
    for item in slices:
        groups[item.is_derived, item.series_uid].append(item)
    wanted = [key for key in groups if series_uid in (None, key[1])]
    if not wanted:
        raise ScanError(f"{label}: no CT series {series_uid}; there is {_listed(groups)}")
    chosen = min(wanted, key=lambda key: (key[0], -len(groups[key]), key[1]))
    has_originals = any(not is_derived for is_derived, _ in groups)
    rest = {key: len(items) for key, items in groups.items() if key != chosen}
    return Choice(
        series=groups[chosen],
        other_series={uid: n for (is_derived, uid), n in sorted(rest.items()) if not (is_derived and has_originals)},
        derived_left_out=sum(n for (is_derived, _), n in rest.items() if is_derived and has_originals),
    )


def _listed(groups: dict[tuple[bool, str], list[Slice]]) -> str:
    return ", ".join(
        f"{uid} ({len(items)} {'derived ' if is_derived else ''}slices)"
        for (is_derived, uid), items in sorted(groups.items())
    )
