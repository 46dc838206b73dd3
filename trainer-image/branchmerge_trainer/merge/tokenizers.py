"""Tokenizer and chat template of a model: whether two are the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from branchmerge.api.errors import InputError

_SPECIAL_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "cls_token", "mask_token")
"""Roles that shape what a model reads and where it ends. Padding is left out: it never does."""


@dataclass(frozen=True)
class TokenizerIdentity:
    """All of a tokenizer that changes what a model sees or writes."""

    vocabulary: dict[str, int]
    special_tokens: dict[str, str | None]
    added_tokens: dict[int, str]
    pipeline: dict[str, Any]
    """Normalizer, pre-tokenizer, model, post-processor and decoder, as the tokenizers library writes them."""
    chat_template: Any

    def difference(self, other: TokenizerIdentity) -> str | None:
        """What is different in `other`, in a few words with an example; None where nothing is."""
        if self.vocabulary != other.vocabulary:
            return f"another vocabulary ({_first_token(self.vocabulary, other.vocabulary)})"
        for role, token in self.special_tokens.items():
            if other.special_tokens[role] != token:
                return f"another {role} ({other.special_tokens[role]!r} instead of {token!r})"
        if self.added_tokens != other.added_tokens:
            return f"other added tokens ({sorted(self.added_tokens.items() ^ other.added_tokens.items())[0][1]!r})"
        if self.pipeline != other.pipeline:
            parts = [part for part in self.pipeline if self.pipeline[part] != other.pipeline.get(part)]
            return f"another way of splitting text ({', '.join(parts) or 'more parts'})"
        if self.chat_template != other.chat_template:
            return "another chat template"
        return None


def identify(folder: Path, model: str) -> TokenizerIdentity:
    """The tokenizer of the model in `folder`. `model` is what messages call it. Raises InputError if it is damaged."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # the tokenizers library raises nothing more special
        raise InputError(f"{model}: {folder}: the tokenizer cannot be read ({error}): copy its files again") from None
    return TokenizerIdentity(
        vocabulary=tokenizer.get_vocab(),
        special_tokens={role: getattr(tokenizer, role) for role in _SPECIAL_ROLES},
        added_tokens={number: str(token) for number, token in tokenizer.added_tokens_decoder.items()},
        pipeline=_pipeline(tokenizer),
        chat_template=tokenizer.chat_template,
    )


def _pipeline(tokenizer: Any) -> dict[str, Any]:
    """The fast tokenizer's own description, without what only shapes batches; empty for a slow one."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return {}
    description: dict[str, Any] = json.loads(backend.to_str())
    for part in ("padding", "truncation", "added_tokens"):
        description.pop(part, None)
    return description


def _first_token(one: dict[str, int], other: dict[str, int]) -> str:
    if len(one) != len(other):
        return f"{len(other)} tokens instead of {len(one)}"
    token = min(one.items() ^ other.items())[0]
    return f"token {token!r} is {other.get(token, 'not there')} instead of {one.get(token, 'not there')}"
