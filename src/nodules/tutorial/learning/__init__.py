"""Training in Booz Allen Hamilton's tutorial: the U-Net on prepared slices, and two classifiers of nine features.

`settings` has a switch for each defect of the published training and evaluation.
"""

import nodules.models  # noqa: F401 - sets the environment before TensorFlow and Keras are first imported
