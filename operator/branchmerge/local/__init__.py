"""Runs attempts as process groups of this machine. Never imports torch."""
