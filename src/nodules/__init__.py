"""Lung nodules and lung cancer risk from chest CT."""
