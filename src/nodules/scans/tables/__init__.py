"""Tables of LUNA16 and of the Data Science Bowl 2017 (DSB), feature tables, and surveys of the data folders."""
