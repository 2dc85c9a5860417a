"""The only door to MLflow's tracking: runs of stages, what is stored in them, and what earlier ones left."""
