"""By what name an answer is found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from branchmerge_trainer.curate.rows import Message


@dataclass(frozen=True, slots=True)
class Key:
    """Name of one answer in a log."""

    prompt: str
    """Digest of the conversation, see `digest_of`."""
    sample: int
    """From 0."""

    def seed(self, base: int) -> int:
        """The seed (31 bits, which every endpoint takes) that this sample is drawn with."""
        text = f"{base}\0{self.prompt}\0{self.sample}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1


def digest_of(messages: Sequence[Message]) -> str:
    """128 bits, in hex, that tell a conversation from every other."""
    text = json.dumps([[message["role"], message["content"]] for message in messages], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
