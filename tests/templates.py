"""Chat templates as they occur, each with what is special about it, and a tokenizer that knows their special tokens."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from tinymodels import SPECIAL, TEMPLATE, make_tokenizer

BEGIN, END, ASKED, ANSWERED = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"

DEEPSEEK = (files("trl") / "chat_templates" / "deepseek_r1_distill.jinja").read_text(encoding="utf-8")
"""The template of the paper's student, byte for byte: it deletes the trace, and its prompt opens one."""

KEEPS_LAST_TRACE = (
    "{% for message in messages %}<|{{ message.role }}|>"
    "{% if message.role == 'assistant' and not loop.last %}{{ message.content.split('</think>')[-1].strip() }}"
    "{% else %}{{ message.content }}{% endif %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""Like Qwen3's: earlier turns lose their trace, and a line break follows the end of turn."""

FIRST_AND_LAST = TEMPLATE.replace(
    "message.content", "message.content.split('</think>')[0] ~ '</think>' ~ message.content.split('</think>')[-1]"
)
"""Like templates that take a message apart: of a message with two traces it keeps the first, and the answer."""

DROPS_TRACE = TEMPLATE.replace("message.content", "message.content.split('</think>')[-1]")
NEVER_ENDS = TEMPLATE.replace("<|end|>", "{% if message.role != 'assistant' %}<|end|>{% endif %}")
OTHER_PROMPT = TEMPLATE.replace("<|user|>", "Q: ").replace("<|{{ message.role }}|>", "{{ message.role }}: ")
REFUSES_SYSTEM = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ raise_exception('no system please') }}{% endif %}"
    "<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_deepseek_tokenizer(template: str | None = DEEPSEEK) -> Any:
    """A character tokenizer with the special tokens of DeepSeek-R1's distilled models."""
    special = (SPECIAL[0], END, BEGIN, ASKED, ANSWERED, "<think>", "</think>")
    tokenizer = make_tokenizer(special=special, template=template, eos=END)
    tokenizer.bos_token = BEGIN
    return tokenizer
