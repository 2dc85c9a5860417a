"""The division of patients into folds."""

from __future__ import annotations

from nodules.pretraining.folds import FOLDS, patient_folds


def test_fold_of_a_known_subset_is_its_remainder():
    folds = patient_folds({"a": 0, "b": 4, "c": 5, "d": 8}, seed=1)
    assert folds == {"a": 0, "b": 4, "c": 0, "d": 3}


def test_other_patients_are_drawn_evenly_and_in_any_order():
    patients = [f"p{number:02d}" for number in range(23)]
    folds = patient_folds(dict.fromkeys(patients), seed=3)
    sizes = [list(folds.values()).count(fold) for fold in range(FOLDS)]
    assert sorted(sizes) == [4, 4, 5, 5, 5]
    assert patient_folds(dict.fromkeys(reversed(patients)), seed=3) == folds
    assert patient_folds(dict.fromkeys(patients), seed=4) != folds


def test_the_draw_does_not_depend_on_patients_with_a_subset():
    drawn = patient_folds({"a": None, "b": None}, seed=5)
    assert patient_folds({"a": None, "c": 2, "b": None}, seed=5) == {**drawn, "c": 2}


def test_nobody():
    assert patient_folds({}, seed=1) == {}
