"""What a model folder holds, as far as it can be known without loading the model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

_HEADER_LIMIT_BYTES = 100_000_000
_TOKENIZERS = (
    ("tokenizer.json",),
    ("tokenizer.model",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
)
"""Sets of files, each of which is a whole tokenizer."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The size of a model."""

    parameters: int
    bytes: int
    """Of its weights on disk."""


class ModelFolderError(ValueError):
    """A file of the folder is broken. Its text names the file and says how."""


def model_problems(folder: Path, *, needs_template: bool) -> list[str]:
    """What is missing or wrong in a folder that should hold a model, each as `<file>: what: fix`."""
    return list(_problems(folder, needs_template=needs_template))


def model_facts(folder: Path) -> ModelFacts | None:
    """The size of the model in a folder, None where its weights cannot be read."""
    try:
        headers = [_header(file) for file in weight_files(folder)]
    except (ModelFolderError, OSError):
        return None
    tensors = [entry for header in headers for name, entry in header.items() if name != "__metadata__"]
    if not tensors:
        return None
    return ModelFacts(
        parameters=sum(prod(entry["shape"]) for entry in tensors),
        bytes=sum(entry["data_offsets"][1] - entry["data_offsets"][0] for entry in tensors),
    )


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model: those of the index, or the only one. Raises ModelFolderError."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        single = folder / "model.safetensors"
        return [single] if single.exists() else []
    shards = _json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ModelFolderError(f"{index}: has no weight_map: download the model again")
    return [folder / name for name in sorted(set(shards.values()))]


def _problems(folder: Path, *, needs_template: bool) -> Iterator[str]:
    if not folder.is_dir():
        yield f"{folder}: is a file: name the folder that holds config.json"
        return
    try:
        config = _json(folder / "config.json")
        yield from _weight_problems(folder)
        yield from _tokenizer_problems(folder, config, needs_template=needs_template)
    except ModelFolderError as error:
        yield str(error)


def _weight_problems(folder: Path) -> Iterator[str]:
    files = weight_files(folder)
    if not files:
        other = "other formats" if any(folder.glob("*.bin")) else "none"
        yield f"{folder}: no weights as safetensors ({other} found): save the model with save_pretrained()"
    for file in files:
        if not file.exists():
            yield f"{file}: is missing, but named in the index: download the model again"
            continue
        try:
            _header(file)
        except ModelFolderError as error:
            yield str(error)


def _tokenizer_problems(folder: Path, config: dict[str, Any], *, needs_template: bool) -> Iterator[str]:
    if not any(all((folder / name).exists() for name in names) for names in _TOKENIZERS):
        yield f"{folder}: no tokenizer (tokenizer.json): save it beside the model with tokenizer.save_pretrained()"
        return
    largest = _largest_token_id(folder)
    vocabulary = config.get("vocab_size", (config.get("text_config") or {}).get("vocab_size"))
    if largest is not None and isinstance(vocabulary, int) and largest >= vocabulary:
        yield (
            f"{folder}: the tokenizer's largest token id is {largest}, but config.json has vocab_size {vocabulary}: "
            "they belong to two models; save the right tokenizer"
        )
    if needs_template and not _has_template(folder):
        yield (
            f"{folder}: the tokenizer has no chat template: add chat_template.jinja, without which nobody knows how a "
            "question is put to the model"
        )


def _largest_token_id(folder: Path) -> int | None:
    file = folder / "tokenizer.json"
    if not file.exists():
        return None
    tokenizer = _json(file)
    vocabulary = (tokenizer.get("model") or {}).get("vocab")
    ids = [token["id"] for token in tokenizer.get("added_tokens") or []]
    if isinstance(vocabulary, dict):
        ids.extend(vocabulary.values())
    elif isinstance(vocabulary, list):  # Unigram: a list of pairs, the id is the place
        ids.append(len(vocabulary) - 1)
    return max(ids, default=None)


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").exists() or (folder / "chat_template.json").exists():
        return True
    settings = folder / "tokenizer_config.json"
    return settings.exists() and bool(_json(settings).get("chat_template"))


def _header(file: Path) -> dict[str, Any]:
    """Names, types, shapes and places of the tensors in a safetensors file, whose size they must fit."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, _HEADER_LIMIT_BYTES):
            raise ModelFolderError(f"{file}: is no safetensors file, or a part of one: download it again")
        try:
            header: dict[str, Any] = json.loads(stream.read(length))
            end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        except (ValueError, TypeError, KeyError):
            raise ModelFolderError(f"{file}: has a broken header: download it again") from None
    if size != 8 + length + end:
        raise ModelFolderError(f"{file}: has {size} bytes, but its header says {8 + length + end}: download it again")
    return header


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderError(f"{file}: is missing: name a folder in Hugging Face format") from None
    except ValueError:
        raise ModelFolderError(f"{file}: is no JSON: download it again") from None
    if not isinstance(content, dict):
        raise ModelFolderError(f"{file}: holds no JSON object: download it again")
    return content
