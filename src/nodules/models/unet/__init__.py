"""The U-Net that segments nodules on slices."""
