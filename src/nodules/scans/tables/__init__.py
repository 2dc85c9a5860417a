"""The CSV tables of LUNA16 and of the Data Science Bowl, and surveys of the folders they describe."""
