"""Stages of `models/pretrained/dvc.yaml`, one module each."""
