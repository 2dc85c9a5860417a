"""Reader of DICOM scans: files, headers, choice of the series, slice grid and pixels to one volume in HU."""
