"""Floor 0: arrays in, arrays out; no files, no networks, no tracking."""
