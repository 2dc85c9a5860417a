"""From a scan to what a network sees; training, segmentation and serving all pass here."""
