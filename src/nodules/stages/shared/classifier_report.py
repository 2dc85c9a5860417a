"""The page about the classifiers that a person reads in the tracker, and the numbers beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from nodules.evaluation.bootstrap import DRAWS
from nodules.models.cancer.params import ClassifierParams
from nodules.pictures.cancer_page import MODEL_WORDS, Part, page
from nodules.stages.shared.classifier_validation import CHOSEN, Validated, counts, limits
from nodules.stages.shared.patients import Patients


def write_page(
    patients: Patients,
    validated: Validated,
    params: ClassifierParams,
    chosen: str,
    pictures: Mapping[str, tuple[str, Figure]],
    more_parts: Sequence[Part] = (),
) -> str:
    """HTML of one page; `chosen` is the model fitted to all patients, `more_parts` come behind the validation."""
    title = "On patients outside the fold"
    return page(
        _question(patients, chosen),
        [Part(title, validated.judged, CHOSEN), *more_parts],
        dict(pictures.values()),
        [*_how(params), *_bounds(patients)],
    )


def _question(patients: Patients, chosen: str) -> list[str]:
    number = counts(patients)
    share = number["positives"] / number["patients"]
    return [
        f"Given {number['features']} features measured in the CT scan of a patient: how probable is lung cancer? "
        f"Asked of {number['patients']} patients, of whom {number['positives']} ({share:.1%}) have it.",
        f"The model fitted to all of them is: {MODEL_WORDS.get(chosen, chosen)}.",
    ]


def _how(params: ClassifierParams) -> list[str]:
    shuffles = f", {params.repeats} times over with other folds" if params.repeats > 1 else ""
    return [
        f"Each patient was predicted by models that did not know them ({params.folds} folds{shuffles}). Everything "
        "that can be chosen, from the features to the settings, the kind of model, its calibration and the threshold, "
        "was chosen anew in each fold, without the patients held out.",
        f"The intervals (95 %) come from drawing the patients anew {DRAWS} times. They say how much a figure hangs on "
        "these patients, not what another hospital's patients would give.",
        "Skill is 1 - log-loss / log-loss of the prior. 0 is a model that knows nothing, 1 one that knows everything.",
        "The calibration error of few patients is never 0, even if the probabilities are right; its interval is high.",
        "F1, precision and recall call a patient from a probability of 0.5 on; with own threshold, from the one that "
        "was best inside the fold. Where cancer is rare and the probabilities are honest, few reach 0.5.",
        "Not a medical device: nothing here says what the model is worth for the care of patients.",
    ]


def _bounds(patients: Patients) -> list[str]:
    known = limits(patients)
    if "bayes_log_loss" not in known:
        return []
    return [
        f"These patients are synthetic, so the limit is known: whoever knew the true probability of each would have a "
        f"log-loss of {known['bayes_log_loss']:.3f}."
    ]
