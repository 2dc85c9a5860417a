"""False-positive reduction: a 3-D network that scores the U-Net's proposals, and the fusion of both scores."""
