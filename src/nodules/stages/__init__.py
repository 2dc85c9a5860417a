"""Floor 5: one thin module per DVC stage, and in `shared` what several stages use."""
