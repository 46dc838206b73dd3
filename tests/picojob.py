"""A job that is real from end to end and done in seconds: a student of 20,000 parameters, two branches, one merge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from jobfolder import write_rows
from tinymodels import make_model, make_tokenizer, save, teach

NAME = "pico"
EVERY_STEPS = 20
"""Optimizer steps between two checkpoints."""
MAX_STEPS = 300

_WORDS = ("red", "tea", "map", "sun", "ice", "oak", "fox", "rye")
_ANSWERS: dict[str, Callable[[str], str]] = {"upper": str.upper, "mirror": lambda word: word[::-1]}

JOB: dict[str, Any] = {
    "apiVersion": "branchmerge.dev/v1alpha1",
    "kind": "DistillationJob",
    "metadata": {"name": NAME},
    "spec": {
        "student": {"model": "student"},
        "training": {
            "maxSteps": MAX_STEPS,
            "learningRate": 1.0e-3,
            "sequenceLength": 64,
            "globalBatchSize": 4,
            "microBatchSize": 2,
            "precision": {"compute": "float32"},
            "checkpoint": {"everySteps": EVERY_STEPS, "gracePeriodSeconds": 20},
        },
        "branches": [
            {
                "name": "upper",
                "data": {"sources": [{"path": "data/upper.jsonl"}]},
                "resources": {"processesPerNode": 2},
            },
            {
                "name": "mirror",
                "data": {"sources": [{"path": "data/mirror.jsonl"}]},
                "replay": {"fraction": 0.25, "from": ["upper"]},
            },
        ],
        "merge": {
            "recipe": [{"name": "final", "method": "linear", "models": ["upper", "mirror"]}],
            "dtype": "float32",
            "outDtype": "float32",
        },
        "evaluation": {
            "models": ["student", "merged"],
            "suites": [
                {
                    "name": name,
                    "path": f"eval/{name}.jsonl",
                    "method": "exact",
                    "generation": {"maxTokens": 24, "batchSize": 4},
                }
                for name in ("upper", "mirror")
            ],
        },
        "retry": {"failures": 5, "backoffSeconds": 0},
    },
}


def make_pico(root: Path) -> Path:
    """Write the job's folder and return its file. It is the same every time. The student knows every other word."""
    for name in _ANSWERS:
        write_rows(root / "data" / f"{name}.jsonl", [_row(name, word) for word in _WORDS * 2])
        questions = [{"id": word, "prompt": f"{name} {word}", "answer": _ANSWERS[name](word)} for word in _WORDS]
        write_rows(root / "eval" / f"{name}.jsonl", questions)
    tokenizer = make_tokenizer()
    known = [_row(name, word)["messages"] for name in _ANSWERS for word in _WORDS[::2]]
    lessons = {question["content"]: answer["content"] for question, answer in known}
    save(root / "student", teach(make_model(), tokenizer, lessons, steps=60), tokenizer=tokenizer)
    file = root / "job.yaml"
    file.write_text(yaml.safe_dump(JOB, sort_keys=False))
    return file


def _row(name: str, word: str) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": f"{name} {word}"},
            {"role": "assistant", "content": f"<think>{' '.join(word)}</think>{_ANSWERS[name](word)}"},
        ]
    }
