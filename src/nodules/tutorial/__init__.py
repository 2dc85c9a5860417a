"""The recipe of Booz Allen Hamilton's tutorial for the Data Science Bowl 2017, whole; nothing outside imports it."""
