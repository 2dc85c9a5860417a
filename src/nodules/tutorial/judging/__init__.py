"""The slices by which the tutorial's recipes are judged, and what the answers to them are worth."""
