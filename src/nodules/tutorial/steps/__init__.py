"""Image-processing steps of Booz Allen Hamilton's tutorial for the Data Science Bowl 2017, as pure functions.

`lung_steps` and `prepared_scan` combine them; `defects` names the mistakes of the published code.
"""
