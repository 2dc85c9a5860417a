"""What several stages use: the command line, settings, and steps that stages have in common."""
