"""Classifiers from patient features to a calibrated probability of cancer."""
