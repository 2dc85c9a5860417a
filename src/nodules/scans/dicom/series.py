"""Choose the CT series to read if a source holds several."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from nodules.scans.dicom.headers import Slice
from nodules.scans.result import ScanError


@dataclass(frozen=True)
class Choice:
    """The chosen series, and what was not chosen.

    Attributes
    ----------
    series : list of Slice
        Slices of the chosen series. They share one series UID and are either all original or all derived.
    other_series : dict
        The other series that could have been chosen: UID to number of slices.
    derived_left_out : int
        Number of derived slices, of any series, that were left out because there are original ones.
    """

    series: list[Slice]
    other_series: dict[str, int]
    derived_left_out: int


def choose_series(slices: list[Slice], series_uid: str | None, label: str) -> Choice:
    """Choose the series to read.

    Original slices take precedence over derived ones (reformatted, averaged, ...). Derived slices are chosen only if
    there are no others, or if the requested series has no others. Next, the series with the most slices is chosen, and
    among equally long series the one with the smallest UID.

    Parameters
    ----------
    slices : list of Slice
        At least one.
    series_uid : str or None
        The requested series, or None to choose among all.
    label : str
        Name of the source in messages.

    Raises
    ------
    ScanError
        If the requested series does not exist; the message lists the existing ones.
    """
    groups: defaultdict[tuple[bool, str], list[Slice]] = defaultdict(list)
    for item in slices:
        groups[item.is_derived, item.series_uid].append(item)
    wanted = [key for key in groups if series_uid in (None, key[1])]
    if not wanted:
        raise ScanError(f"{label}: no CT series {series_uid}; available: {_listed(groups)}")
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
