"""From the nodules and lungs of one patient to a row of named features."""
