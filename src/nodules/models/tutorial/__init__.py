"""What learns in Booz Allen Hamilton's tutorial: the U-Net on prepared slices, and two classifiers of nine features.

`settings` names the mistakes of the published training and evaluation, each one a switch.
"""
