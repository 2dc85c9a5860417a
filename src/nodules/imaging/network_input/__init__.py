"""Conversion of scans to network input, shared by training, segmentation and serving."""
