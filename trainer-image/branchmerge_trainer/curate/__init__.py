"""Sources -> the rows that a branch learns from."""
