"""Asks models behind OpenAI-compatible endpoints: the teacher for answers, a judge for verdicts."""
