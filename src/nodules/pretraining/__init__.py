"""Pretraining: the networks of `models/pretrained` learn from real nodules, with the pipeline's own training code."""
