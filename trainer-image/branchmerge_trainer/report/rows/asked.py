"""What was asked of teachers and judges: tokens and money, which no GPU-hours account for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from branchmerge_trainer.report.curation import Asked
from branchmerge_trainer.report.facts import Facts

UNPRICED = "no prices"


@dataclass(frozen=True)
class AskedRow:
    """What a branch asked of one endpoint, or all branches of all."""

    branch: str
    who: str
    """`teacher` or `judge`; empty for all of them."""
    model: str
    answers: int
    prompt_tokens: int
    completion_tokens: int
    cost: str
    """A sum for each currency; what has no prices is told apart."""


def asked_rows(facts: Facts) -> list[AskedRow]:
    """One row for each branch and endpoint, in the order of the branches."""
    return [
        _row(branch.name, each.who, each.model, [each]) for branch in facts.branches for each in branch.record.asked
    ]


def asked_total(facts: Facts) -> AskedRow:
    """All of it."""
    return _row("all branches", "", "", [each for branch in facts.branches for each in branch.record.asked])


def money(facts: Facts) -> str:
    """What all answers cost, such as `12.35 USD`; empty where nothing has a price."""
    return ", ".join(_sums([each for branch in facts.branches for each in branch.record.asked]))


def _row(branch: str, who: str, model: str, asked: Sequence[Asked]) -> AskedRow:
    return AskedRow(
        branch=branch,
        who=who,
        model=model,
        answers=sum(each.answers for each in asked),
        prompt_tokens=sum(each.prompt_tokens for each in asked),
        completion_tokens=sum(each.completion_tokens for each in asked),
        cost=_cost(asked),
    )


def _cost(asked: Sequence[Asked]) -> str:
    sums = list(_sums(asked))
    if any(each.cost is None for each in asked):
        sums.append(f"some have {UNPRICED}" if sums else UNPRICED)
    return ", ".join(sums)


def _sums(asked: Sequence[Asked]) -> Iterator[str]:
    sums: dict[str, Decimal] = {}
    for each in asked:
        if each.cost is not None:
            currency = each.currency or ""
            sums[currency] = sums.get(currency, Decimal()) + each.cost
    return (f"{_amount(amount)} {currency}".strip() for currency, amount in sums.items())


def _amount(amount: Decimal) -> str:
    """To the cent; small change to a hundredth of a cent."""
    return f"{amount:,.2f}" if amount >= 1 or not amount else f"{amount:.4f}"
