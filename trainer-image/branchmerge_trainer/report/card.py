"""The model card: `README.md`, as the Hugging Face Hub shows it."""

from __future__ import annotations

from collections.abc import Iterator

from branchmerge_trainer.report.comparisons import Comparison
from branchmerge_trainer.report.conclusions import Conclusions
from branchmerge_trainer.report.facts import Facts
from branchmerge_trainer.report.markdown import bullets, code, plain, table
from branchmerge_trainer.report.metadata import metadata
from branchmerge_trainer.report.rows import lineage
from branchmerge_trainer.report.rows.asked import AskedRow, asked_rows, asked_total
from branchmerge_trainer.report.rows.cost import costs, duration, total_cost
from branchmerge_trainer.report.rows.data import Funnel, funnel
from branchmerge_trainer.report.rows.merge import density
from branchmerge_trainer.report.rows.scores import ScoreCell, score_rows, suite_rows
from branchmerge_trainer.report.rows.settings import settings
from branchmerge_trainer.report.verdict import specialist_gaps

_LOADING = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "path/to/this/model"  # or its id on the Hub
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", device_map="auto")

messages = [{"role": "user", "content": "…"}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
answer = model.generate(**inputs.to(model.device), max_new_tokens=1024)
print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```"""

_LICENCE = (
    "Not stated. Before you publish this model, add `license:` to the metadata above: the licences of the student and "
    "of the data apply to what was made from them."
)


def model_card(facts: Facts, conclusions: Conclusions) -> str:
    """The card of the merged model."""
    sections = (
        f"---\n{metadata(facts).to_yaml()}\n---",
        f"# {plain(facts.job)}",
        _introduction(facts),
        f"**{plain(conclusions.verdict)}**",
        *_scores(facts, conclusions),
        *_making(facts),
        *_lineage(facts),
        "## How to load it",
        _LOADING,
        "## Licence",
        _LICENCE,
    )
    return "\n\n".join(sections) + "\n"


def _introduction(facts: Facts) -> str:
    student = facts.task.student.model
    link = f"[{plain(student)}](https://huggingface.co/{student})" if facts.student_hub_id else code(student)
    names = ", ".join(branch.name for branch in facts.branches)
    return (
        f"Made from {link} by [Branch-Merge distillation](https://arxiv.org/abs/2503.04872): the student was "
        f"fine-tuned into one specialist a domain ({plain(names)}), and the specialists were merged."
    )


def _scores(facts: Facts, conclusions: Conclusions) -> Iterator[str]:
    if conclusions.remarks:
        yield bullets(map(plain, conclusions.remarks))
    if conclusions.gates:
        yield "## Gates"
        yield table(
            ["suite", "result", "merged model"],
            [
                [plain(gate.suite), "passed" if gate.passed else "**failed**", plain(gate.message)]
                for gate in conclusions.gates
            ],
        )
    if not facts.evaluations:
        return
    yield "## Scores"
    yield "With 95% intervals; below each the paired difference to the student, bold where it is clear of zero."
    yield table(
        ["model", *(plain(suite.name) for suite in facts.task.suites)],
        [[code(model), *map(_cell, cells)] for model, cells in score_rows(facts)],
    )
    if gaps := specialist_gaps(facts):
        yield table(
            ["suite", "best specialist", "merged model minus specialist"],
            [[plain(gap.suite), code(gap.baseline), _difference(gap)] for gap in gaps],
        )
    yield table(
        ["suite", "role", "compared by", "questions", "samples", "temperature", "max tokens"],
        [
            [
                plain(suite.name),
                suite.role,
                suite.method,
                f"{suite.questions:,}",
                str(suite.samples),
                f"{suite.temperature:g}",
                f"{suite.max_tokens:,}",
            ]
            for suite in suite_rows(facts)
        ],
    )
    yield f"Engine: {plain(lineage.engine(facts))}."


def _cell(cell: ScoreCell) -> str:
    low, high = cell.score.ci95
    text = f"{cell.score.value:.3f} [{low:.3f}, {high:.3f}]"
    return text if cell.gain is None else f"{text}<br>{_difference(cell.gain)}"


def _difference(each: Comparison) -> str:
    text = f"{each.value:+.3f} [{each.low:+.3f}, {each.high:+.3f}]"
    return text if each.tone == "unclear" else f"**{text}**"


def _making(facts: Facts) -> Iterator[str]:
    yield "## Recipe"
    yield table(
        ["step", "method", "models", "base", "options", "changed weights"],
        [
            [
                code(step.name),
                code(step.method),
                plain(", ".join(step.models)),
                plain(step.reference if step.has_base else "–"),
                plain(step.options or "–"),
                f"{step.changed:.1%}",
            ]
            for step in map(density, facts.merges)
        ],
    )
    yield "## Training"
    results = [branch.training.result.figures for branch in facts.branches]
    outcomes = [
        [name, *(f"{figures[key]:{shape}}" if key in figures else "–" for figures in results)]
        for name, key, shape in (
            ("steps", "steps", ",.0f"),
            ("tokens", "tokens", ",.0f"),
            ("final loss", "loss", ".4f"),
        )
    ]
    yield table(
        ["", *(plain(branch.name) for branch in facts.branches)],
        [*outcomes, *([code(row.name), *map(plain, row.values)] for row in settings(facts.branches))],
    )
    yield "## Data"
    yield table(
        ["branch", "rows read", "further answers", "pass rate", "dropped", "rows learned", "replay"],
        [_funnel_row(funnel(branch)) for branch in facts.branches],
    )
    if asked := asked_rows(facts):
        yield table(
            ["branch", "asked", "model", "answers", "prompt tokens", "answer tokens", "cost"],
            map(_asked_row, [*asked, *([asked_total(facts)] if len(asked) > 1 else [])]),
        )


def _funnel_row(row: Funnel) -> list[str]:
    drops = ", ".join(f"{drop.rows:,} {drop.reason} ({drop.step})" for drop in row.drops)
    rate = row.pass_rates.mean if row.pass_rates else None
    return [
        plain(row.branch),
        f"{row.read:,}",
        f"{row.added:,}" if row.added else "–",
        "–" if rate is None else f"{rate:.1%}",
        plain(drops or "none"),
        f"{row.learned:,}",
        plain(row.replay or "–"),
    ]


def _asked_row(row: AskedRow) -> list[str]:
    counts = (f"{count:,}" for count in (row.answers, row.prompt_tokens, row.completion_tokens))
    return [plain(row.branch), plain(row.who) or "–", code(row.model) if row.model else "–", *counts, plain(row.cost)]


def _lineage(facts: Facts) -> Iterator[str]:
    yield "## Lineage"
    yield table(
        ["input", "location", "commit or content"],
        [[plain(each.what), code(each.location), code(each.identity)] for each in lineage.inputs(facts)],
    )
    spent = {(cost.stage): cost for cost in costs(facts) if cost.in_result}
    yield table(
        ["stage", "fingerprint", "content", "wall time", "GPU-hours"],
        [
            [
                code(each.stage),
                code(lineage.short(each.fingerprint)),
                code(lineage.short(each.digest)),
                *([duration(cost.seconds), f"{cost.gpu_hours:.2f}"] if (cost := spent.get(each.stage)) else ["–", "–"]),
            ]
            for each in lineage.made(facts)
        ],
    )
    versions = ", ".join(f"{library} {version}" for library, version in lineage.versions(facts).items())
    total = total_cost(facts)
    yield bullets(
        [
            f"Spec: {code(f'sha256:{lineage.spec_digest(facts)}')}",
            f"Made with {plain(versions)}",
            f"In sum {duration(total.seconds)} of wall time over all attempts, {total.gpu_hours:,.2f} GPU-hours",
        ]
    )
