"""How messages become the text that a model reads; training and evaluation share it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from branchmerge.api.errors import InputError
from branchmerge_trainer.curate.rows import Message


def render_prompt(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The text that the model continues: `messages` in the tokenizer's chat template, the assistant's turn opened.

    It holds all special tokens, so it is tokenized with `add_special_tokens=False`. Raises InputError where the
    tokenizer has no chat template, or where that refuses the messages.
    """
    if tokenizer.chat_template is None:
        raise InputError(f"{tokenizer.name_or_path}: no chat template: add chat_template.jinja to the model's folder")
    return render(tokenizer, messages, tokenizer.chat_template, opened=True)


def render(tokenizer: Any, messages: Sequence[Message], template: str, *, opened: bool) -> str:
    """`messages` in `template`; `opened`: the assistant's next turn is begun at the end.

    Raises InputError where the template is broken or refuses the messages.
    """
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            list(messages), chat_template=template, add_generation_prompt=opened, tokenize=False
        )
    except TemplateError as error:
        raise InputError(f"the chat template refuses the messages: {error}") from None
    return text
