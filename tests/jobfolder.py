"""A folder with everything that a local run reads: the job's file, data, suites, and a student of no use."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

JOB: dict[str, Any] = {
    "apiVersion": "branchmerge.dev/v1alpha1",
    "kind": "DistillationJob",
    "metadata": {"name": "tiny"},
    "spec": {
        "student": {"model": "student"},
        "training": {"globalBatchSize": 4, "checkpoint": {"everySteps": 5}},
        "branches": [
            {"name": "math", "data": {"sources": [{"path": "data/math.jsonl"}]}},
            {"name": "coding", "data": {"sources": [{"path": "data/coding.jsonl"}]}},
        ],
        "merge": {"recipe": [{"name": "final", "method": "arcee_fusion", "base": "coding", "models": ["math"]}]},
        "evaluation": {
            "models": ["student", "merged"],
            "suites": [{"name": "house", "path": "eval/house.jsonl", "method": "exact"}],
        },
        "retry": {"backoffSeconds": 0},
    },
}
STAGES = [
    "curate/math",
    "curate/coding",
    "train/math",
    "train/coding",
    "merge/final",
    "evaluate/student",
    "evaluate/merged",
    "report",
]


def make_folder(root: Path, spec: Mapping[str, Any] | None = None) -> Path:
    """Write the folder and return the job's file. `spec` replaces top-level fields of the spec."""
    for branch in ("math", "coding"):
        row = {"messages": [{"role": "user", "content": branch}, {"role": "assistant", "content": "yes"}]}
        write_rows(root / "data" / f"{branch}.jsonl", [row] * 3)
    write_rows(root / "eval" / "house.jsonl", [question(number) for number in range(100)])
    make_student(root / "student")
    document = copy.deepcopy(JOB)
    document["spec"] |= spec or {}
    return write_job(root, document)


def write_job(root: Path, document: Mapping[str, Any]) -> Path:
    """Write the job's file."""
    file = root / "job.yaml"
    file.write_text(yaml.safe_dump(dict(document), sort_keys=False))
    return file


def question(number: int) -> dict[str, str]:
    """A row of a suite."""
    return {"id": str(number), "prompt": f"{number}?", "answer": "yes"}


def write_rows(path: Path, rows: list[Any]) -> None:
    """Write JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def make_student(folder: Path, *, vocabulary: int = 4) -> None:
    """A model folder as it should be, with weights of 32 parameters."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", "vocab_size": vocabulary}))
    tokenizer = {
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}},
        "added_tokens": [{"id": 3, "content": "!"}],
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    header = json.dumps({"embed": {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 128]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(128))
