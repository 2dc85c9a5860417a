"""Anatomy of a synthetic chest: build, organs, bones and vessels on one canvas."""
