"""What learns in Booz Allen Hamilton's tutorial: the U-Net on prepared slices, and two classifiers of nine features.

`settings` names the mistakes of the published training and evaluation, each one a switch.
"""

import nodules.models  # noqa: F401 - prepares the environment in which TensorFlow and Keras are first imported
