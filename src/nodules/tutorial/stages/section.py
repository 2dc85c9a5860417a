"""The section `tutorial` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from nodules.tutorial.learning.settings import TutorialClassifierParams, TutorialUnetParams
from nodules.tutorial.steps.settings import TutorialParams


@dataclass(frozen=True)
class TutorialSection:
    """The tutorial's own recipe, as `method=tutorial` and `method=tutorial_as_published` fill it.

    Attributes
    ----------
    recipes : list of str
        Names under which the four stages run and keep their files; an empty list means that none of them exists.
    steps : TutorialParams
        Steps from a scan to the network's images, and from its probability maps to the nine features.
    unet : TutorialUnetParams
        The tutorial's network and its training.
    classifiers : TutorialClassifierParams
        The tutorial's four tables.
    """

    recipes: list[str]
    steps: TutorialParams
    unet: TutorialUnetParams
    classifiers: TutorialClassifierParams
