"""What a job reads of a domain: rows to learn from, the same ones as prompts for a teacher, and a suite."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from miniature.domains import Domain


def write_domains(folder: Path, domains: Mapping[str, Domain]) -> None:
    """`data/<domain>.jsonl` to learn from, `prompts/<domain>.jsonl` for a teacher, `eval/<domain>.jsonl` as suite."""
    for name, domain in domains.items():
        _write_rows(
            folder / "data" / f"{name}.jsonl",
            ({"messages": [problem.question, problem.solution]} for problem in domain.train),
        )
        _write_rows(
            folder / "prompts" / f"{name}.jsonl",
            ({"prompt": problem.prompt, "answer": problem.answer} for problem in domain.train),
        )
        _write_rows(
            folder / "eval" / f"{name}.jsonl",
            (
                {"id": f"{name}-{number:03}", "prompt": problem.prompt, "answer": problem.answer}
                for number, problem in enumerate(domain.suite)
            ),
        )


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
