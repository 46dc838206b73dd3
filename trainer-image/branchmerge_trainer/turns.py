"""Which tokens end a model's turn."""

from __future__ import annotations

from typing import Any

_PROBE = "branchmerge"


def end_of_turn_ids(tokenizer: Any, generation_config: Any) -> set[int]:
    """Tokens that end an answer: the tokenizer's and the generation config's, and the chat template's own.

    Base models often carry `<|endoftext|>` as eos although their template ends a turn by `<|im_end|>`.
    """
    configured = generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
    return {token for token in ends | _template_ends(tokenizer) if token is not None}


def _template_ends(tokenizer: Any) -> set[int]:
    if tokenizer.chat_template is None:
        return set()
    messages = [{"role": "user", "content": _PROBE}, {"role": "assistant", "content": _PROBE}]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False)
    after = tokenizer(text.rpartition(_PROBE)[2].lstrip(), add_special_tokens=False)["input_ids"]
    return {token for token in after[:1] if token in tokenizer.added_tokens_decoder}
