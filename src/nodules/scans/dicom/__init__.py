"""DICOM series to one volume in HU: files, headers, the choice of a series, its grid, its pixels."""
