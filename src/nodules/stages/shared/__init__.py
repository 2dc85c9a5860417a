"""Code shared by several stages: command line, settings, reports, and steps that more than one stage runs."""
