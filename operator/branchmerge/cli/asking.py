"""What a run would ask of teachers and judges, and the most that it may cost."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import Decimal
from pathlib import Path

from branchmerge.api.data import DataSpec, Source
from branchmerge.api.endpoint import Endpoint, Prices
from branchmerge.api.resource import Spec
from branchmerge.api.teacher import Teacher
from branchmerge.cli.words import plural
from branchmerge.local.locations import local_path
from branchmerge.local.rows import count_rows

_PRICED_TOKENS = 1_000_000


def asked(spec: Spec, inputs: Path, branches: Collection[str]) -> Iterator[str]:
    """A line for each endpoint that the curations of these branches, which would run, ask.

    How many of the answers an earlier attempt has logged, which are not asked again, is not looked at.
    """
    for branch in spec.branches:
        if branch.name not in branches:
            continue
        teacher = spec.teacher_of(branch)
        if teacher is not None:
            prompts = prompts_of(branch.data, inputs)
            yield f"teacher of {branch.name}, {teacher.model}: {_answers(teacher, prompts)}; {_most(teacher, prompts)}"
        judge = branch.data.verify.judge if branch.data.verify else None
        if judge is not None:
            yield f"judge of {branch.name}, {judge.model}: {_at_most(budget(judge), judge)}"


def prompts_of(data: DataSpec, inputs: Path) -> int | None:
    """Prompts of a branch; None where they cannot be counted at once (a Hub data set, a URI, Parquet) or capped."""
    counts = [_prompts_of(source, inputs) for source in data.sources if source.prompts is not None]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def generated_cost(teacher: Teacher, prompts: int) -> Decimal | None:
    """What the answers to so many prompts cost if each is as long as it may be; None where there are no prices."""
    if teacher.prices is None:
        return None
    tokens = prompts * teacher.sampling.samples * teacher.sampling.max_tokens
    return Decimal(teacher.prices.output_per_million) * tokens / _PRICED_TOKENS


def budget(endpoint: Endpoint) -> Decimal | None:
    """The least of what its limits of money and tokens allow; None where they bound nothing."""
    limits, bounds = endpoint.limits, []
    if limits.max_cost is not None:
        bounds.append(Decimal(limits.max_cost.amount))
    if limits.max_tokens is not None and endpoint.prices is not None:
        bounds.append(_dearer(endpoint.prices) * limits.max_tokens / _PRICED_TOKENS)
    return min(bounds, default=None)


def _prompts_of(source: Source, inputs: Path) -> int | None:
    path = None if source.file is None else local_path(source.file, inputs)
    count = None if path is None else count_rows(path)
    return source.max_rows if count is None else min(count, source.max_rows or count)


def _dearer(prices: Prices) -> Decimal:
    return max(Decimal(prices.input_per_million), Decimal(prices.output_per_million))


def _answers(teacher: Teacher, prompts: int | None) -> str:
    samples = teacher.sampling.samples
    if prompts is None:
        return f"{plural(samples, 'answer')} a prompt, whose number is not known yet"
    return f"{plural(prompts, 'prompt')} x {plural(samples, 'sample')} = {plural(prompts * samples, 'answer')}"


def _most(teacher: Teacher, prompts: int | None) -> str:
    """The most that a teacher may cost. Of prompts the tokens are not known here, but of answers the longest."""
    whole = budget(teacher)
    generated = None if prompts is None else generated_cost(teacher, prompts)
    if generated is None or (whole is not None and whole <= generated):
        return _at_most(whole, teacher)
    rest = "" if whole is None else f", {_at_most(whole, teacher)} in all"
    return f"{_at_most(generated, teacher)} for what it generates{rest}"


def _at_most(cost: Decimal | None, endpoint: Endpoint) -> str:
    if cost is None or endpoint.prices is None:
        return "what that may cost is not known: set prices and limits.maxCost"
    return f"at most {cost:,.2f} {endpoint.prices.currency}"
