"""Floor 3: charts, overlays and pages for people."""
