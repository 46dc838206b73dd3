"""Asks a teacher: in this process, or in one of its own that can be killed.

    python tests/asking.py < order.json

reads an order and prints how it went, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from branchmerge.api.teacher import Teacher
from branchmerge_trainer.curate.candidates import Candidate
from branchmerge_trainer.curate.teacher.ask import Answer, ask
from branchmerge_trainer.curate.teacher.asker import Standing


@dataclass
class Outcome:
    """What came of asking."""

    answers: list[list[Answer]] = field(default_factory=list)
    dropped: list[tuple[str, Candidate, str]] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [answer.text for answers in self.answers for answer in answers]

    @property
    def reasons(self) -> Counter[str]:
        return Counter(reason for reason, _, _ in self.dropped)

    def drop(self, reason: str, candidate: Candidate, detail: str = "") -> None:
        self.dropped.append((reason, candidate, detail))


def teacher(endpoint: str, **settings: Any) -> Teacher:
    return Teacher.model_validate({"endpoint": endpoint, "model": "teacher-1", **settings})


def prompt(text: str, row: int = 1) -> Candidate:
    return Candidate(0, row, [{"role": "user", "content": text}])


def ask_all(
    texts: Iterable[str], teacher: Teacher, folder: Path, key: str | None = None, outcome: Outcome | None = None
) -> Outcome:
    outcome = outcome or Outcome()
    prompts = (prompt(text, row) for row, text in enumerate(texts, start=1))
    for answers in ask(prompts, teacher, folder, key, outcome.standings.append, outcome.drop):
        outcome.answers.append(answers)
    return outcome


def main() -> int:
    from branchmerge_trainer.main import concluded
    from branchmerge_trainer.signals import StopFlag

    StopFlag(at_once=True).install()

    def work() -> None:
        order = json.load(sys.stdin)
        key = os.environ.get("BRANCHMERGE_TEACHER_API_KEY")
        outcome = ask_all(order["prompts"], Teacher.model_validate(order["teacher"]), Path(order["folder"]), key)
        print(json.dumps({"texts": outcome.texts, "reasons": outcome.reasons}))

    return concluded(work)  # type: ignore[arg-type]  # as a stage, but without a result


if __name__ == "__main__":
    sys.exit(main())
