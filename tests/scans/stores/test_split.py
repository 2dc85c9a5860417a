"""Splits by patient: nobody on two sides, the same proportion of nodules, the same answer every time."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodules.scans.stores.split import PARTS, SplitParams, check_leaks, split_patients

PARAMS = SplitParams(validation_share=0.2, test_share=0.25, test_subsets=[])


def scans(with_nodules: int = 40, without: int = 20, scans_each: int = 1) -> pd.DataFrame:
    patients = [f"p{number:03d}" for number in range(with_nodules + without)]
    rows = [
        {
            "seriesuid": f"1.{(number * 7919) % 1009}.{scan}",
            "patient": patient,
            "subset": number % 10,
            # Only the last scan of a patient shows the nodules.
            "nodules": 1 + number % 3 if number < with_nodules and scan == scans_each - 1 else 0,
        }
        for number, patient in enumerate(patients)
        for scan in range(scans_each)
    ]
    return pd.DataFrame(rows)


def part_of_patient(table: pd.DataFrame) -> dict[str, set[str]]:
    return table.groupby("patient")["part"].agg(set).to_dict()


def test_shares_by_hand_among_those_with_and_without_nodules():
    rows = split_patients(scans(40, 20), PARAMS, seed=1)
    counts = rows.groupby([rows["nodules"] > 0, "part"]).size()
    assert counts[True].to_dict() == {"test": 10, "train": 22, "validation": 8}
    assert counts[False].to_dict() == {"test": 5, "train": 11, "validation": 4}


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(1, 3),
    st.floats(0, 0.6),
    st.floats(0, 0.39),
    st.integers(0, 2**31),
)
def test_no_patient_stands_on_two_sides_and_none_is_lost(positive, negative, scans_each, test, validation, seed):
    table = scans(positive, negative, scans_each)
    try:
        rows = split_patients(table, SplitParams(validation, test, []), seed) if len(table) else None
    except ValueError as error:
        assert "too few" in str(error)
        return
    if rows is None:
        return
    assert sorted(rows["seriesuid"]) == sorted(table["seriesuid"])
    assert set(rows["part"]) <= set(PARTS)
    parts = part_of_patient(rows)
    assert all(len(found) == 1 for found in parts.values())
    patients = table.groupby("patient")["nodules"].sum()
    for has_nodules in (True, False):
        group = [patient for patient, count in patients.items() if (count > 0) == has_nodules]
        for part, share in (("test", test), ("validation", validation)):
            found = sum(parts[patient] == {part} for patient in group)
            assert abs(found - share * len(group)) <= 0.5 + 1e-9


def test_patient_counts_as_one_whatever_the_number_of_scans():
    """A patient whose first scan shows no nodule still belongs with those that have some."""
    rows = split_patients(scans(20, 20, scans_each=2), PARAMS, seed=3)
    patients = rows.groupby("patient").agg(nodules=("nodules", "sum"), part=("part", "first"))
    assert (patients[patients["nodules"] > 0]["part"] == "test").sum() == 5
    assert (patients[patients["nodules"] == 0]["part"] == "validation").sum() == 4


def test_same_seed_same_split_and_another_seed_another_one():
    first, again, other = (split_patients(scans(), PARAMS, seed) for seed in (5, 5, 6))
    pd.testing.assert_frame_equal(first, again)
    assert not first["part"].equals(other["part"])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31))
def test_order_of_the_rows_does_not_matter(order):
    table = scans(30, 20, scans_each=2)
    shuffled = table.sample(frac=1.0, random_state=np.random.default_rng(order))
    pd.testing.assert_frame_equal(split_patients(shuffled, PARAMS, 7), split_patients(table, PARAMS, 7))


def test_rows_are_sorted_and_keep_their_columns():
    table = scans()
    before = table.copy()
    rows = split_patients(table, PARAMS, seed=1)
    assert rows["seriesuid"].is_monotonic_increasing
    assert rows.columns.tolist() == ["seriesuid", "patient", "subset", "nodules", "part"]
    pd.testing.assert_frame_equal(rows.drop(columns="part"), table.sort_values("seriesuid", ignore_index=True))
    pd.testing.assert_frame_equal(table, before)


def test_nobody_has_nodules():
    rows = split_patients(scans(0, 20), PARAMS, seed=1)
    assert rows["part"].value_counts().to_dict() == {"train": 11, "test": 5, "validation": 4}


def test_part_with_share_0_may_be_empty():
    rows = split_patients(scans(8, 8), SplitParams(0.0, 0.25, []), seed=1)
    assert set(rows["part"]) == {"train", "test"}


@pytest.mark.parametrize(
    ("count", "shares", "part"),
    [(1, (0.2, 0.2), "validation"), (2, (0.4, 0.2), "test"), (0, (0.0, 0.0), "train"), (1, (0.0, 0.9), "train")],
)
def test_too_few_patients_for_a_part(count, shares, part):
    table = scans(count, 0) if count else scans().iloc[:0]
    with pytest.raises(ValueError, match=f"{count} patients are too few: the part '{part}' stays empty"):
        split_patients(table, SplitParams(*shares, []), seed=1)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 9), min_size=1, max_size=4), st.integers(1, 2), st.integers(0, 2**31))
def test_subsets_in_turn_test_all_scans_of_their_patients(subsets, scans_each, seed):
    """A patient's later scans are moved to the next subset: they test with the first, or with the next."""
    table = scans(40, 40, scans_each)
    table["subset"] = (table["subset"] + table["seriesuid"].str.split(".").str[2].astype(int)) % 10
    rows = split_patients(table, SplitParams(0.25, 0.9 - 0.25, sorted(subsets)), seed)
    assert all(len(found) == 1 for found in part_of_patient(rows).values())
    touched = set(table["patient"][table["subset"].isin(subsets)])
    assert set(rows["patient"][rows["part"] == "test"]) == touched
    others = rows[~rows["patient"].isin(touched)].groupby("patient").agg(n=("nodules", "sum"), part=("part", "first"))
    for has_nodules in (True, False):
        group = others[(others["n"] > 0) == has_nodules]
        assert abs((group["part"] == "validation").sum() - 0.25 * len(group)) <= 0.5 + 1e-9


def test_ten_folds_test_every_scan_once():
    tested = [
        rows["seriesuid"][rows["part"] == "test"]
        for fold in range(10)
        for rows in [split_patients(scans(), replace(PARAMS, test_subsets=[fold]), seed=1)]
    ]
    assert sorted(pd.concat(tested)) == sorted(scans()["seriesuid"])


def test_test_subset_without_scans_is_refused():
    with pytest.raises(ValueError, match=r"test_subsets names \[10, 12\].*\[0, 1, 2, 3, 4, 5, 6, 7, 8, 9\] only"):
        split_patients(scans(), replace(PARAMS, test_subsets=[3, 12, 10]), seed=1)


def test_all_subsets_leave_nobody_to_train():
    with pytest.raises(ValueError, match="stays empty"):
        split_patients(scans(), replace(PARAMS, test_subsets=list(range(10))), seed=1)


def test_series_that_appears_twice_is_refused():
    table = pd.concat([scans(), scans().iloc[[4]].assign(subset=9)])
    with pytest.raises(ValueError, match=rf"series {table['seriesuid'].iloc[4]} is in more than one subset"):
        split_patients(table, PARAMS, seed=1)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.7, 0.4)])
def test_shares_that_leave_nobody_to_train_on_are_refused(shares):
    with pytest.raises(ValueError, match="must leave patients to train on"):
        SplitParams(*shares, [])


def test_leak_is_named():
    table = pd.DataFrame({"patient": ["a", "b", "b", "c", "c"], "part": ["train", "train", "test", "test", "test"]})
    with pytest.raises(ValueError, match="patient b is in more than one part"):
        check_leaks(table)
    check_leaks(table[table["part"] == "test"])
