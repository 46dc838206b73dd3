"""How messages become the text that a model reads; training and evaluation share it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from branchmerge.api.errors import InputError
from branchmerge_trainer.curate.rows import Message


def render_prompt(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The text that the model continues: `messages` in the tokenizer's chat template, the assistant's turn opened.

    It holds all special tokens, so it is tokenized with `add_special_tokens=False`. Raises InputError where the
    tokenizer has no chat template.
    """
    if tokenizer.chat_template is None:
        raise InputError(f"{tokenizer.name_or_path}: no chat template: add chat_template.jinja to the model's folder")
    text: str = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
    return text
