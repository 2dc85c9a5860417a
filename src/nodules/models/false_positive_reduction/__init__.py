"""The 3-D network that looks at each proposal again, and the fusion of its answer with the U-Net's."""
