"""Floor 2: what learns; the only floor that knows keras, scikit-learn, xgboost and optuna."""
