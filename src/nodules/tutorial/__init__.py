"""The complete recipe of Booz Allen Hamilton's tutorial for the Data Science Bowl 2017.

No module outside this folder imports it.
"""
