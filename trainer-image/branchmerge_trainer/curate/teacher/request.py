"""One request, and why it may stay without an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from branchmerge_trainer.curate.rows import Message
from branchmerge_trainer.curate.teacher.keys import Key
from branchmerge_trainer.curate.teacher.reply import Usage

_CHARACTERS_PER_TOKEN = 3
"""Of an estimate that is rather too many tokens than too few."""
_TOKENS_PER_MESSAGE = 8
"""Of a chat template, around each message."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How an answer is drawn."""

    seed: int
    max_tokens: int
    temperature: float
    top_p: float = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked once."""

    key: Key
    messages: Sequence[Message]
    drawing: Drawing

    @property
    def prompt_tokens(self) -> int:
        """An estimate."""
        lengths = (len(message["content"]) for message in self.messages)
        return sum(length // _CHARACTERS_PER_TOKEN + _TOKENS_PER_MESSAGE for length in lengths)

    def usage(self, characters: int) -> Usage:
        """An estimate, where so many characters were written and the endpoint did not count them."""
        return Usage(self.prompt_tokens, -(-characters // _CHARACTERS_PER_TOKEN))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer."""

    reason: str
    """Few words, to count by."""
    detail: str = ""
