"""Malignancy of a nodule as LIDC's readers rate it, by 3-D networks on cubes around its centre."""
