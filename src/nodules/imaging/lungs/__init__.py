"""Lung segmentation in chest CT: threshold, airways, left and right, closing, quality check."""
