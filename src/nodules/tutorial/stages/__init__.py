"""One thin module per DVC stage of the tutorial's recipe, and what they share."""
