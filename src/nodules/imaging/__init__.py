"""Floor 0: image processing that takes arrays and returns arrays, without files, networks or tracking."""
