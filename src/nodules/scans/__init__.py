"""Floor 1: files to and from volumes; the only floor that knows SimpleITK and pydicom."""
