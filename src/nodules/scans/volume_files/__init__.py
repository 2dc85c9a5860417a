"""Read and write MetaImage, NIfTI and NRRD files: format, headers, completeness, geometry and voxels."""
