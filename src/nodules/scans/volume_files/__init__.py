"""MetaImage, NIfTI and NRRD to and from volumes: content, headers, completeness, voxels."""
