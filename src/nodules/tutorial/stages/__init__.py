"""One thin module per DVC stage of the tutorial's recipe."""
