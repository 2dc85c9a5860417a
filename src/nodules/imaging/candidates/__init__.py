"""Nodule candidates from a probability map: proposals, outlines and shape."""
