"""Named features of one patient, measured on the nodules and the lungs."""
