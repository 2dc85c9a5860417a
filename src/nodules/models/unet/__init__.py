"""The U-Net that segments nodules on slices: network, training, and inference on whole scans."""
