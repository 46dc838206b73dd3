"""Suites -> answers, scores and their intervals."""
