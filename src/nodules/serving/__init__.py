"""Floor 3: the packaged model that answers requests."""
