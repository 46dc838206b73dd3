"""How one answer was judged."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why an answer is not right."""

    WRONG = "wrong answer"
    NO_ANSWER = "no answer"
    NO_END_OF_TRACE = "no end of the trace"
    TIMED_OUT = "timed out"
    CRASHED = "crashed"
    OVER_A_LIMIT = "over a limit"
    """Of output, files or threads."""


@dataclass(frozen=True)
class Verdict:
    """How one answer was judged."""

    reason: Reason | None
    """Why it is not right; None where it is."""
    prediction: str | None
    """What was compared with the reference; None where the answer holds nothing of the kind."""
    detail: str = ""
    """More of why it is not right, on one line."""

    @property
    def correct(self) -> bool:
        """Whether it is right."""
        return self.reason is None


def compared(equal: bool, prediction: str) -> Verdict:
    """The verdict on an answer that could be compared."""
    return Verdict(None if equal else Reason.WRONG, prediction)


NO_ANSWER = Verdict(Reason.NO_ANSWER, None)
NO_END_OF_TRACE = Verdict(Reason.NO_END_OF_TRACE, None)
