"""Evaluation of the tutorial's U-Net: evaluation slices, predictions, and slice-level detection and Dice scores."""
