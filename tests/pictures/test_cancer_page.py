"""The page says in words what the table says in numbers, and is one whole document."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from nodules.evaluation.bootstrap import Predicted, evaluate_repeated
from nodules.pictures.cancer_page import ResultSection, describe_results, page

LABELS = np.tile([1, 0, 0, 0], 50)


def part(probabilities, labels=LABELS, name="chosen"):
    return ResultSection(
        "On patients outside the fold", evaluate_repeated(labels, {name: Predicted(probabilities[:, np.newaxis])}), name
    )


@pytest.mark.parametrize(
    ("probabilities", "words"),
    [
        (np.where(LABELS == 1, 0.7, 0.1), "better than the prior"),
        (np.where(LABELS == 1, 0.1, 0.7), "worse than the prior"),
        (np.where(np.arange(200) % 3 == 0, 0.27, 0.24), "too few to tell it from the prior"),
    ],
)
def test_verdict_follows_the_interval(probabilities, words):
    assert words in describe_results(part(probabilities))[0]


def test_words_give_the_numbers():
    said = " ".join(describe_results(part(np.where(LABELS == 1, 0.8, 0.2))))
    assert "log-loss of 0.223 (95 %: 0.223 to 0.223)" in said  # -ln 0.8 for everybody
    assert "cancer, has 0.562" in said  # -(ln 0.25 + 3 ln 0.75) / 4
    assert "In 100% of the pairs" in said
    assert "off by 0.200" in said


def test_one_class_is_said_in_words():
    assert "nothing to compare" in describe_results(part(np.full(5, 0.2), np.zeros(5, int)))[0]


def test_page_is_one_document_with_its_pictures():
    text = page(["Who has < 2 nodules & cancer?"], [part(np.where(LABELS == 1, 0.7, 0.1))], {"a": Figure()}, ["few"])
    assert "&lt; 2 nodules &amp; cancer" in text
    assert text.count('src="data:image/png;base64,') == 1
    assert '<tr class="chosen"><td>chosen in each fold</td><td>' in text
    body = ElementTree.fromstring(text[text.index("<body>") : text.index("</html>")])  # noqa: S314 - all tags closed
    assert body.tag == "body"
    assert "http" not in text, "nothing is fetched from elsewhere"
