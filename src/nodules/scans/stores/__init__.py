"""What the pipeline itself keeps on disk: slices, segmentations, the split."""
