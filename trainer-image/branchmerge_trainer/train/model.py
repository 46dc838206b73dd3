"""The model that is trained: how it is loaded, and how the specialist is saved."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from branchmerge_trainer.models import carry_over
from branchmerge_trainer.train.layout import Layout
from branchmerge_trainer.train.setting import Setting
from branchmerge_trainer.train.student import Student

_SHARD_SIZE = "5GB"
_FLASH_ATTENTION = "flash_attention_2"
_TEMPLATE_FILE = "chat_template.jinja"


def choose_layout(student: Student, setting: Setting) -> Layout:
    """The layout for FlashAttention where hardware, arithmetic and installation allow it, else for masked attention."""
    from transformers.utils.import_utils import is_flash_attn_2_available

    fit = setting.half and setting.ranks.device.type == "cuda"
    return Layout(fit and is_flash_attn_2_available(), student.config.get_text_config().hidden_size)


def load_model(student: Student, setting: Setting, layout: Layout) -> Any:
    """The student, ready to be trained, in fp32: that is what master weights are."""
    from transformers import AutoModelForCausalLM

    chosen = {"attn_implementation": _FLASH_ATTENTION} if layout.varlen else {}
    model: Any = AutoModelForCausalLM.from_pretrained(
        student.folder, dtype=torch.float32, local_files_only=True, **chosen
    )
    if setting.ranks.device.type == "cuda" and find_spec("liger_kernel") is not None:
        from transformers.integrations import liger

        accelerate_layers: Any = liger.apply_liger_kernel
        accelerate_layers(model, None)
    if setting.training.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    return model.train()


def collect(weights: Iterable[tuple[str, torch.Tensor]], dtype: str, *, keep: bool) -> dict[str, torch.Tensor]:
    """The weights in CPU memory, in this number format; a rank that does not keep them only takes part."""
    collected = {}
    for name, weight in weights:
        if keep:
            collected[name] = weight.to("cpu", getattr(torch, dtype))
    return collected


def save_specialist(model: Any, weights: dict[str, torch.Tensor], student: Student, folder: Path) -> None:
    """Write the specialist: trained weights in the student's number format, all else as the student has it.

    The chat template is the student's own, whatever was trained with: so student and specialists are asked by equal
    prompts, and can be merged. A student without one gets the one that was trained with.
    """
    buffers = {name: value for name, value in model.state_dict().items() if name in dict(model.named_buffers())}
    model.save_pretrained(folder, state_dict=weights | buffers, max_shard_size=_SHARD_SIZE)
    _write_config(student, folder)
    carry_over(student.folder, folder)
    if not student.has_template:
        (folder / _TEMPLATE_FILE).write_text(student.tokenizer.chat_template, encoding="utf-8")


def _write_config(student: Student, folder: Path) -> None:
    """The student's own configuration, with the number format that its weights have in truth."""
    source, target = student.folder / "config.json", folder / "config.json"
    shutil.copyfile(source, target)
    config = json.loads(source.read_bytes())
    names = [name for name in ("dtype", "torch_dtype") if name in config] or ["dtype"]
    if any(config.get(name) != student.dtype for name in names):
        config |= dict.fromkeys(names, student.dtype)
        target.write_text(json.dumps(config, indent=2) + "\n")
