"""The model card: `README.md` with the metadata of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from huggingface_hub import EvalResult, ModelCardData

from branchmerge.api.resource import MERGED
from branchmerge.api.stage import GateResult
from branchmerge_trainer.report.facts import Facts
from branchmerge_trainer.report.tables import Cell, funnel, overall_density, score_table

_HUB_ID = 2
"""Parts of a Hub id: owner/name."""


_INTRODUCTION = (
    "Made by [Branch-Merge distillation](https://arxiv.org/abs/2503.04872): the student was fine-tuned into one "
    "specialist per domain, and the specialists were merged."
)


def model_card(facts: Facts, verdict: str, notes: Sequence[str], gates: Sequence[GateResult]) -> str:
    """The card of the merged model. A licence is never invented: the owner adds it."""
    sections = [
        f"---\n{_metadata(facts).to_yaml()}\n---",
        f"# {facts.job}",
        _INTRODUCTION,
        f"**{verdict}**",
        *_scores(facts, notes, gates),
        *_making(facts),
        *_use(),
    ]
    return "\n\n".join(sections) + "\n"


def _metadata(facts: Facts) -> ModelCardData:
    student = facts.task.student.model or ""
    merged = [score for (model, _), score in facts.scores.items() if model == MERGED]
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=score.suite,
            dataset_name=score.suite,
            metric_type=score.metric,
            metric_value=round(score.value, 4),
            metric_name=score.metric,
        )
        for score in merged
    ]
    return ModelCardData(
        base_model=student if len(student.split("/")) == _HUB_ID and not student.startswith((".", "/")) else None,
        datasets=_datasets(facts) or None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=[
            "branch-merge-distillation",
            "mergekit",
            "merge",
            *sorted({str(step["method"]) for step in _recipe(facts)}),
        ],
        model_name=facts.job,
        eval_results=results or None,
    )


def _datasets(facts: Facts) -> list[str]:
    sources = [source for branch in facts.task.spec.get("branches", []) for source in branch["data"]["sources"]]
    return list(dict.fromkeys(source["dataset"]["repo"] for source in sources if source.get("dataset")))


def _recipe(facts: Facts) -> list[dict[str, object]]:
    recipe: list[dict[str, object]] = facts.task.spec["merge"]["recipe"]
    return recipe


def _scores(facts: Facts, notes: Sequence[str], gates: Sequence[GateResult]) -> Iterator[str]:
    suites, rows = score_table(facts)
    if not suites:
        return
    yield "## Scores"
    yield "pass@1 with its 95% interval; below it the paired difference to the student. Bold: clear of zero."
    yield _table(["model", *suites], [[f"`{model}`", *map(_cell, cells)] for model, cells in rows])
    if notes:
        yield "\n".join(f"- {note}" for note in notes)
    if gates:
        yield "## Gates"
        yield _table(
            ["suite", "passed", "by"],
            [[gate.suite, "yes" if gate.passed else "**no**", gate.message] for gate in gates],
        )


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    score = cell.score
    text = f"{score.value:.3f} [{score.ci95[0]:.3f}, {score.ci95[1]:.3f}]"
    if cell.gain is None:
        return text
    gain = f"{cell.gain.value:+.3f} [{cell.gain.ci95[0]:+.3f}, {cell.gain.ci95[1]:+.3f}]"
    return f"{text}<br>{f'**{gain}**' if cell.tone else gain}"


def _making(facts: Facts) -> Iterator[str]:
    yield "## Training"
    yield _table(
        ["branch", "rows read", "rows trained on", "steps", "trained tokens", "final loss"],
        [
            [
                branch.name,
                f"{funnel(branch)[0].count:,}",
                f"{funnel(branch)[-1].count:,}",
                *(_figure(branch.training.figures.get(name)) for name in ("steps", "tokens", "loss")),
            ]
            for branch in facts.branches
        ],
    )
    yield "## Merge"
    changed = {step.name: overall_density(step.tensors) for step in facts.merges}
    yield _table(
        ["step", "method", "models", "base", "changed weights"],
        [
            [
                str(step["name"]),
                f"`{step['method']}`",
                ", ".join(map(str, step["models"])),  # type: ignore[call-overload]
                str(step.get("base", "–")),
                f"{changed[str(step['name'])]:.1%}",
            ]
            for step in _recipe(facts)
        ],
    )
    yield "## Lineage"
    student = facts.task.student
    yield f"Student: `{student.model}`" + (f" at `{student.revision}`" if student.revision else "")
    yield _table(
        ["stage", "fingerprint", "digest of the output"],
        [[name, f"`{result.fingerprint[:16]}`", f"`{result.digest[:16]}`"] for name, result in facts.results.items()],
    )


def _use() -> Iterator[str]:
    yield "## Use"
    yield (
        "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'tokenizer = AutoTokenizer.from_pretrained("path/to/this/model")\n'
        'model = AutoModelForCausalLM.from_pretrained("path/to/this/model", dtype="auto")\n```'
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == int(value) else f"{value:.4f}"
