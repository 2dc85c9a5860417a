"""Hyperparameter search by Optuna: study, storage, charts and fingerprint."""
