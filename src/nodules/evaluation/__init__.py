"""Floor 2: numbers from arrays and tables; no files, no pictures."""
