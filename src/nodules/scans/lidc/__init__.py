"""LIDC-IDRI's readings: the XML files, and the readers' outlines as voxels of a scan."""
