"""The lungs of a chest CT: found, divided, closed, judged."""
