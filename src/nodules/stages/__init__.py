"""Floor 5: one thin module per DVC stage; `shared` holds the code that several stages use."""
