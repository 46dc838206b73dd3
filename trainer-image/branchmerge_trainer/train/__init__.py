"""Curated rows -> a specialist: full-parameter supervised fine-tuning of the student on one branch."""
