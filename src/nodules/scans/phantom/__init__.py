"""Make synthetic low-dose chest CT scans with known nodules and cancer risk, in the layouts of LUNA16 and DSB."""
