"""Jobs whose curations do all that the API has."""

from __future__ import annotations

from typing import Any

TEACHER: dict[str, Any] = {
    "endpoint": "http://vllm/v1",
    "model": "r1",
    "apiKeySecretRef": {"name": "teacher", "key": "api-key"},
}
JUDGE: dict[str, Any] = {
    "endpoint": "http://judge/v1",
    "model": "v3",
    "apiKeySecretRef": {"name": "teacher", "key": "judge.key"},
    "rubric": "Is it right?",
}
CURATION: dict[str, Any] = {
    "teacher": TEACHER,
    "branches.0.data": {
        "sources": [{"prompts": {"path": "data/prompts.jsonl"}, "maxRows": 100, "weight": 2.0}],
        "verify": {"method": "judge", "judge": JUDGE, "minPassRate": 0.25},
        "select": {"strategy": "ShortestCorrect"},
        "require": {"closedThink": True, "languages": ["en"]},
        "deduplicate": {"nearThreshold": 0.8},
        "decontaminate": {},
        "limits": {"maxRows": 50, "maxTokens": 4096},
        "shuffle": {},
        "resources": {"pool": "h100", "cpu": "16"},
    },
}
"""Edits of `builders.make_job`."""
