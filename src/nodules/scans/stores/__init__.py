"""Intermediate files of the pipeline: training slices, segmentations and the split of the patients."""
