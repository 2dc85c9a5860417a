"""Synthetic low-dose chest CT scans with known nodules and a known risk of cancer, in the layouts of LUNA16 and DSB."""
