"""Floor 3: one thin module per DVC stage."""
