"""Volumes in the world, turned, resampled and worked on in mm."""
