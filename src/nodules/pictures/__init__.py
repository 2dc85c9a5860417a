"""Floor 3: charts, overlays on CT slices, and the HTML page about the classifiers."""
