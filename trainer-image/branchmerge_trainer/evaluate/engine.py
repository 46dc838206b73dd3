"""Generates answers by transformers: left-padded batches, a KV cache, one seed an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, StoppingCriteria
from transformers.utils.logging import disable_progress_bar

from branchmerge.api.errors import InputError
from branchmerge.api.evaluation import Generation
from branchmerge_trainer.chat import render_prompt
from branchmerge_trainer.curate.rows import Message
from branchmerge_trainer.evaluate.sampling import SeededSampling
from branchmerge_trainer.turns import end_of_turn_ids

StepReport = Callable[[int], None]
"""Called at each step with the number of answers that grew by a token."""


@dataclass(frozen=True)
class Completion:
    """What the model wrote."""

    text: str
    """Special tokens included, because `</think>` may be one; the end of turn left out."""
    tokens: int
    """Generated, end of turn included."""
    truncated: bool
    """Whether the limit of tokens ended it."""


class TransformersEngine:
    """A model that answers prompts."""

    def __init__(self, folder: Path) -> None:
        """Load the model from `folder` in its own number format, onto the GPUs where there are some.

        Raises InputError where tensors are missing, which transformers would make up at random.
        """
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, padding_side="left")
        self._model = _load(folder)
        self._ends = sorted(end_of_turn_ids(self._tokenizer, self._model.generation_config))
        if not self._ends:
            raise InputError(
                f"{folder}: the tokenizer has no end-of-turn token: set eos_token in tokenizer_config.json"
            )
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token_id = self._ends[0]
        self._model.generation_config = _generation_config()  # else what is unset here would come from the model's own

    def prompt(self, messages: Sequence[Message]) -> str:
        """The text that the model continues."""
        return render_prompt(self._tokenizer, messages)

    def count_tokens(self, prompts: Sequence[str]) -> list[int]:
        """Number of tokens of each prompt."""
        return [len(ids) for ids in self._tokenizer(list(prompts), add_special_tokens=False)["input_ids"]]

    @property
    def context_tokens(self) -> int | None:
        """Longest prompt and answer together, in tokens; None where the model does not say."""
        limit: int | None = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        return limit

    @torch.inference_mode()
    def complete(
        self, prompts: Sequence[str], seeds: Sequence[int], generation: Generation, max_tokens: int, report: StepReport
    ) -> list[Completion]:
        """Answer one batch, at most `max_tokens` tokens each. Greedy at temperature 0, where seeds do not matter."""
        inputs = self._tokenizer(
            list(prompts), add_special_tokens=False, padding=True, return_token_type_ids=False, return_tensors="pt"
        )
        sampling = SeededSampling(
            seeds, temperature=generation.temperature, top_p=generation.top_p, max_tokens=max_tokens
        )
        output = self._model.generate(
            **inputs.to(self._model.device),
            generation_config=_generation_config(
                do_sample=False,
                max_new_tokens=max_tokens,
                eos_token_id=self._ends,
                pad_token_id=self._tokenizer.pad_token_id,
            ),
            logits_processor=[sampling] if generation.temperature > 0 else [],
            stopping_criteria=[_StepReporter(self._ends, report)],
        )
        return [self._completion(row) for row in output[:, inputs["input_ids"].shape[1] :].tolist()]

    def _completion(self, ids: list[int]) -> Completion:
        length = next((index for index, token in enumerate(ids) if token in self._ends), None)
        text = self._tokenizer.decode(ids[:length], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return Completion(text, len(ids) if length is None else length + 1, truncated=length is None)


def _load(folder: Path) -> Any:
    disable_progress_bar()
    load: Any = AutoModelForCausalLM.from_pretrained
    device_map = "auto" if torch.cuda.is_available() else None
    model, notes = load(folder, dtype="auto", device_map=device_map, local_files_only=True, output_loading_info=True)
    if missing := sorted(notes["missing_keys"]):
        raise InputError(f"{folder}: {len(missing)} tensors are missing, such as {missing[0]!r}: save the model again")
    return model


def _generation_config(**settings: Any) -> Any:
    make: Any = GenerationConfig  # its constructor has no types
    return make(**settings)


class _StepReporter(StoppingCriteria):
    """Stops nothing; tells after each step how many answers still grow."""

    def __init__(self, ends: Sequence[int], report: StepReport) -> None:
        self._ends = torch.tensor(ends)
        self._report = report
        self._alive: torch.Tensor | None = None

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_kwargs: Any) -> torch.Tensor:
        alive = torch.ones(len(input_ids), dtype=torch.bool) if self._alive is None else self._alive
        self._report(int(alive.sum()))
        self._alive = alive & ~torch.isin(input_ids[:, -1].cpu(), self._ends)
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
