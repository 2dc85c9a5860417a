"""MLflow tracking: runs of stages, what they log, and results read back from earlier runs.

No other package uses MLflow's tracking API.
"""
