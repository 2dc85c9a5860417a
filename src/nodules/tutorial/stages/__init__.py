"""One thin module per DVC stage of the tutorial's recipe, and the code that they share."""
