"""What the stages have cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from branchmerge.api.stage import StageAccount
from branchmerge_trainer.report.facts import Facts

PARTS = ("useful", "starting", "lost")


@dataclass(frozen=True)
class Cost:
    """A stage's cost, or that of all stages."""

    stage: str
    in_result: bool
    """Whether its output is part of this report's job as it is now."""
    attempts: int
    seconds: float
    """Wall time summed over attempts, in seconds."""
    gpu_hours: float
    parts: tuple[float, float, float]
    """GPU-hours: useful, starting, lost."""


def costs(facts: Facts) -> list[Cost]:
    """One row for each stage and fingerprint that was attempted."""
    current = {(name, stage.result.fingerprint) for name, stage in facts.stages}
    return [
        _cost(account.stage, [account], in_result=(account.stage, account.fingerprint) in current)
        for account in facts.task.accounts
        if account.stage != "report"
    ]


def total_cost(facts: Facts) -> Cost:
    """All of it."""
    return _cost("all stages", facts.task.accounts, in_result=True)


def duration(seconds: float) -> str:
    """As people say it: `0.8 s`, `42 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def _cost(stage: str, accounts: Sequence[StageAccount], *, in_result: bool) -> Cost:
    return Cost(
        stage=stage,
        in_result=in_result,
        attempts=sum(account.attempts for account in accounts),
        seconds=sum(account.seconds for account in accounts),
        gpu_hours=sum(account.gpu_hours for account in accounts),
        parts=(
            sum(account.useful_gpu_hours for account in accounts),
            sum(account.starting_gpu_hours for account in accounts),
            sum(account.lost_gpu_hours for account in accounts),
        ),
    )
