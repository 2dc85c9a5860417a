"""Floor 1: reads and writes scans, tables and stores; only this floor imports SimpleITK and pydicom."""
