"""Floor 2: evaluation metrics computed from arrays and tables, without files or figures."""
