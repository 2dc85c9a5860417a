"""Floor 4: the packaged MLflow model that diagnoses scans, and its reports."""
