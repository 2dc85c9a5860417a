"""The organs of a synthetic chest."""
