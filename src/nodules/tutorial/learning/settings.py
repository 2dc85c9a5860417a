"""Settings of the tutorial's training and classification, with switches for the defects of the published code."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt


@dataclass(frozen=True)
class TutorialUnetDefects:
    """Defects of the published training and prediction of the U-Net, each with a switch.

    Attributes
    ----------
    split_by_slice : bool
        Slices are split at random, so slices of one nodule are in both the training and the test set. Otherwise
        patients are split.
    test_images_not_standardised : bool
        The network is trained on images with mean 0 and standard deviation 1, but predicts images that are not
        standardised. Otherwise test images are standardised with the mean and deviation of the training images.
    selected_on_training_loss : bool
        The epoch with the lowest training loss is kept. Otherwise it is the epoch with the lowest validation loss.
    positive_slices_only : bool
        The network is trained only on slices selected for a nodule, but predicts all slices. Otherwise it is also
        trained on `nodule_free_slices` of each scan.
    dice_flattened_over_batch : bool
        The Dice loss is taken of all pixels of a batch together, so large nodules outweigh small ones. Otherwise it is
        taken of each slice.
    dice_without_cross_entropy : bool
        The loss is the Dice alone. An untrained network predicts 0.5 everywhere. The quickest way to a better Dice is
        to predict 0 everywhere, where the gradient nearly vanishes. Otherwise the mean binary cross-entropy of the
        slice is added, whose gradient does not vanish there.
    """

    split_by_slice: bool = False
    test_images_not_standardised: bool = False
    selected_on_training_loss: bool = False
    positive_slices_only: bool = False
    dice_flattened_over_batch: bool = False
    dice_without_cross_entropy: bool = False

    @classmethod
    def as_published(cls) -> TutorialUnetDefects:
        """Return the defects with every switch on."""
        return cls(**{field.name: True for field in fields(cls)})


@dataclass(frozen=True)
class TutorialUnetParams:
    """Settings of the U-Net and its training. There is no early stopping: every epoch is trained.

    Attributes
    ----------
    filters : int
        Number of filters of the first level. The tutorial's is 32.
    depth : int
        Number of poolings. The tutorial's is 4.
    normalisation : {"none", "batch"}
        Normalisation after each convolution. The tutorial has none; a short training then ends with blank predictions.
    learning_rate : float
        Constant learning rate of Adam. The tutorial's is 1e-5.
    batch_size, epochs : int
        The tutorial's are 2 and 20.
    nodule_free_slices : int
        Number of training slices without a nodule per scan, drawn from the slices with lungs.
    test_share : float
        Share of slices in the test set, and also in the validation set; used only with the defect `split_by_slice`. The
        tutorial's is 0.2.
    defects : TutorialUnetDefects
        Defects of the published code; all off by default.
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
    """Defects of the published evaluation of the classifiers, each with a switch.

    Attributes
    ----------
    log_loss_of_hard_labels : bool
        The log-loss is taken of the predicted classes: 34.54 times the share of wrong ones. Otherwise it is taken of
        the probabilities.
    folds_unshuffled : bool
        Each fold consists of consecutive patients in the order of their ids, so any drift during data collection
        separates the folds. Otherwise patients are shuffled.
    """

    log_loss_of_hard_labels: bool = False
    folds_unshuffled: bool = False

    @classmethod
    def as_published(cls) -> TutorialClassifierDefects:
        """Return the defects with every switch on."""
        return cls(**{field.name: True for field in fields(cls)})


@dataclass(frozen=True)
class TutorialClassifierParams:
    """Settings of the two classifiers and their cross-validation.

    Attributes
    ----------
    folds : int
        Number of stratified folds. The tutorial has 3.
    trees : int
        Number of trees of the Random Forest and of boosting rounds of XGBoost. The tutorial has 100 of both.
    scale_pos_weight : float
        XGBoost's weight of patients with cancer. The tutorial's is 3; it worsens calibration.
    defects : TutorialClassifierDefects
        Defects of the published code; all off by default.
    """

    folds: Annotated[int, Ge(2)]
    trees: Annotated[int, Gt(0)]
    scale_pos_weight: Annotated[float, Gt(0)]
    defects: TutorialClassifierDefects = field(default_factory=TutorialClassifierDefects)
