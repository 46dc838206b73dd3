"""The tokenizer: one token a character, one for each marker of a turn or a trace, and the chat template."""

from __future__ import annotations

import string

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

UNKNOWN = "<|unk|>"
PADDING = "<|pad|>"
END_OF_TURN = "<|end|>"
TURNS = ("<|user|>", "<|assistant|>")
TRACE = ("<think>", "</think>")

SPACE = "Ġ"
"""A space, as byte-level tokenizers write it."""
ALPHABET = string.digits + string.ascii_letters + SPACE + "+-*/=<>.,:;?!"

MAX_TOKENS = 256
"""Longest conversation; those of the miniature have fewer than 40 tokens."""

CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {%- if message.role == "user" -%}
        <|user|>{{ message.content }}<|end|>
    {%- elif message.role == "assistant" -%}
        <|assistant|>
        {%- generation -%}
            {{ message.content }}<|end|>
        {%- endgeneration -%}
    {%- else -%}
        {{ raise_exception("role " ~ message.role ~ ": the student knows user and assistant only") }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    <|assistant|>
{%- endif -%}
"""
"""Keeps the trace, and marks all that the assistant says, its end of turn included, as what is learned."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer as `AutoTokenizer` loads it: byte-level, as transformers makes every one of a Qwen2 model."""
    vocabulary = {token: index for index, token in enumerate([UNKNOWN, *ALPHABET])}
    characters = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN))
    characters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    characters.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=characters,
        unk_token=UNKNOWN,
        pad_token=PADDING,
        eos_token=END_OF_TURN,
        additional_special_tokens=list(TURNS),
        model_max_length=MAX_TOKENS,
        clean_up_tokenization_spaces=False,
    )
    # No special tokens: a decoder that skips those must keep what divides the trace from the answer.
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in TRACE])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
