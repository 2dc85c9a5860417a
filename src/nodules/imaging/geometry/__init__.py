"""Volumes in world coordinates: reorientation, resampling, morphology and spheres, all in mm."""
