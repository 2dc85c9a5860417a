"""The section `tutorial` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from nodules.tutorial.learning.settings import TutorialClassifierParams, TutorialUnetParams
from nodules.tutorial.steps.settings import TutorialParams


@dataclass(frozen=True)
class TutorialSection:
    """The tutorial's own recipe; `method=tutorial` and `method=tutorial_as_published` set it.

    Attributes
    ----------
    recipes : list of str
        Names under which the four stages run and keep their files; with an empty list the stages do not exist.
    steps : TutorialParams
        Steps from a scan to the network's images, and from its probability maps to the nine features.
    unet : TutorialUnetParams
        The tutorial's network and its training.
    classifiers : TutorialClassifierParams
        Settings of the tutorial's two classifiers and of their cross-validation.
    """

    recipes: list[str]
    steps: TutorialParams
    unet: TutorialUnetParams
    classifiers: TutorialClassifierParams
