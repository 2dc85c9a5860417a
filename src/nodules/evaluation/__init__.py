"""Floor 2: numbers and charts from arrays and tables; no files."""
