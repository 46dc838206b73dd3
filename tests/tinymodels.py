"""Tiny real models: three families, a character tokenizer, and one that was taught to answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

PAD, END, USER, ASSISTANT, SYSTEM, THINK, END_THINK = (
    "<|endoftext|>",
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<think>",
    "</think>",
)
SPECIAL = (PAD, END, USER, ASSISTANT, SYSTEM, THINK, END_THINK)
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
FAMILIES: Mapping[str, tuple[Any, Any, dict[str, Any]]] = {
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": True}),
    "llama": (LlamaConfig, LlamaForCausalLM, {"tie_word_embeddings": False}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"tie_word_embeddings": True, "head_dim": 8}),
}


def make_tokenizer(*, special: tuple[str, ...] = SPECIAL, template: str | None = TEMPLATE, eos: str = END) -> Any:
    """One token a printable character, and the special ones.

    It is byte-level and has an `<|endoftext|>`, because transformers loads every tokenizer of a Qwen2 model so.
    """
    tokens = [*special, "\u0120", "\u010a", *map(chr, range(33, 127))]  # the byte level's space and line feed first
    backend = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    others = [token for token in special if token not in (PAD, eos)]
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD, unk_token=PAD, eos_token=eos, additional_special_tokens=others
    )
    tokenizer.chat_template = template
    return tokenizer


def make_model(family: str = "qwen2", *, seed: int = 0, **settings: Any) -> Any:
    """A model with random weights, the same ones for the same seed."""
    config, architecture, own = FAMILIES[family]
    shape = {
        "vocab_size": len(make_tokenizer()),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
    }
    torch.manual_seed(seed)
    return architecture(config(**(shape | own | settings)))


def save(
    folder: Path,
    model: Any,
    *,
    tokenizer: Any = None,
    dtype: torch.dtype = torch.float32,
    shard: str = "1GB",
) -> Path:
    """Save model and tokenizer as Hugging Face does it."""
    model.generation_config = GenerationConfig(eos_token_id=1, pad_token_id=0)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    (tokenizer or make_tokenizer()).save_pretrained(folder)
    return folder


def teach(model: Any, tokenizer: Any, answers: Mapping[str, str], steps: int = 120) -> Any:
    """Train the model until it answers each prompt as told."""
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}], tokenize=False
        )
        for prompt, answer in answers.items()
    ]
    rows = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
    labels = rows["input_ids"].masked_fill(rows["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model(**rows, labels=labels).loss.backward()
        optimizer.step()
    return model.eval()
