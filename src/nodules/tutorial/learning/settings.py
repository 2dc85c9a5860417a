"""What can be chosen in the tutorial's training and classification, and the published mistakes, each one a switch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt


@dataclass(frozen=True)
class TutorialUnetDefects:
    """What goes wrong between the prepared slices and the predicted masks where a switch is on.

    Attributes
    ----------
    split_by_slice : bool
        Slices are dealt at random, so that those of one nodule train and test. Otherwise patients are.
    test_images_not_standardised : bool
        The network learns from images of mean 0 and deviation 1 and is then asked about images as they are. Otherwise
        the training images' mean and deviation go with it.
    selected_on_training_loss : bool
        The epoch with the lowest loss on what was trained on is kept. Otherwise that with the lowest validation loss.
    positive_slices_only : bool
        The network sees only slices chosen for a nodule, and is then asked about all. Otherwise it also sees
        `nodule_free_slices` of each scan.
    dice_flattened_over_batch : bool
        All pixels of a batch are one set, in which large nodules drown small ones. Otherwise each slice has its Dice.
    dice_without_cross_entropy : bool
        Nothing but the Dice is learnt from. A fresh network answers 0.5 everywhere; to answer 0 everywhere is the
        quickest way to a better Dice, and from there hardly a gradient leads on. Otherwise the mean binary
        cross-entropy of the slice is added, which has one.
    """

    split_by_slice: bool = False
    test_images_not_standardised: bool = False
    selected_on_training_loss: bool = False
    positive_slices_only: bool = False
    dice_flattened_over_batch: bool = False
    dice_without_cross_entropy: bool = False

    @classmethod
    def as_published(cls) -> TutorialUnetDefects:
        """All of them at once."""
        return cls(**{field.name: True for field in fields(cls)})


@dataclass(frozen=True)
class TutorialUnetParams:
    """The network and its training; there is no patience, every epoch is trained.

    Attributes
    ----------
    filters, depth : int
        Of the first level, and number of poolings. The tutorial's are 32 and 4.
    normalisation : {"none", "batch"}
        After each convolution. The tutorial has none; then a short training ends with blank answers.
    learning_rate : float
        Adam's, constant. The tutorial's is 1e-5.
    batch_size, epochs : int
        The tutorial's are 2 and 20.
    nodule_free_slices : int
        Of each scan, drawn among those with lungs and without a nodule.
    test_share : float
        Of all slices, only where they are dealt at random; as many again validate. The tutorial's is 0.2.
    defects : TutorialUnetDefects
        None by default.
    """

    filters: Annotated[int, Gt(0)]
    depth: Annotated[int, Ge(1)]
    normalisation: Literal["none", "batch"]
    learning_rate: Annotated[float, Gt(0)]
    batch_size: Annotated[int, Gt(0)]
    epochs: Annotated[int, Gt(0)]
    nodule_free_slices: Annotated[int, Ge(0)]
    test_share: Annotated[float, Gt(0), Lt(0.5)]
    defects: TutorialUnetDefects = field(default_factory=TutorialUnetDefects)


@dataclass(frozen=True)
class TutorialClassifierDefects:
    """What goes wrong in judging the classifiers where a switch is on.

    Attributes
    ----------
    log_loss_of_hard_labels : bool
        The log-loss is taken of the predicted classes: 34.54 times the share of wrong ones. Otherwise of the
        probabilities.
    folds_unshuffled : bool
        Each fold is a run of patients in the order of their ids, so that whatever changed while they were gathered
        divides them. Otherwise they are shuffled.
    """

    log_loss_of_hard_labels: bool = False
    folds_unshuffled: bool = False

    @classmethod
    def as_published(cls) -> TutorialClassifierDefects:
        """All of them at once."""
        return cls(**{field.name: True for field in fields(cls)})


@dataclass(frozen=True)
class TutorialClassifierParams:
    """The two classifiers and their cross-validation.

    Attributes
    ----------
    folds : int
        Stratified. The tutorial has 3.
    trees : int
        Of the Random Forest, and rounds of XGBoost. The tutorial has 100 of both.
    scale_pos_weight : float
        XGBoost's weight of patients with cancer. The tutorial's is 3; it costs calibration.
    defects : TutorialClassifierDefects
        None by default.
    """

    folds: Annotated[int, Ge(2)]
    trees: Annotated[int, Gt(0)]
    scale_pos_weight: Annotated[float, Gt(0)]
    defects: TutorialClassifierDefects = field(default_factory=TutorialClassifierDefects)
