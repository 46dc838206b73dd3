"""The table of scores: models x suites, with intervals and differences to the student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from branchmerge.api.merge import STUDENT
from branchmerge.api.resource import MERGED
from branchmerge.api.stage import Difference, GateResult, Score, StageKind
from branchmerge.core.model import StageDecision

_PREFIX = f"{StageKind.EVALUATE}/"


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """What was measured, from the results of all stages that are done."""

    scores: dict[tuple[str, str], Score]
    """(model, suite) -> score; models in the order of the pipeline."""
    differences: dict[tuple[str, str], Difference]
    """(model, suite) -> difference to the student."""
    gates: tuple[GateResult, ...]

    @classmethod
    def of(cls, decisions: Sequence[StageDecision]) -> Scoreboard:
        """Gather what the stages say."""
        scores: dict[tuple[str, str], Score] = {}
        differences: dict[tuple[str, str], Difference] = {}
        gates: list[GateResult] = []
        for decision in decisions:
            if decision.result is None:
                continue
            if decision.stage.kind is StageKind.EVALUATE:
                model = decision.stage.name.removeprefix(_PREFIX)
                scores |= {(model, score.suite): score for score in decision.result.scores}
            gates.extend(decision.result.gates)
            differences |= {
                (each.model, each.suite): each for each in decision.result.differences if each.baseline == STUDENT
            }
        return cls(scores, differences, tuple(gates))

    def table(self) -> Table:
        """A row for each model, a column for each suite."""
        suites = list(dict.fromkeys(suite for _, suite in self.scores))
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
        table.add_column("model", no_wrap=True)
        for suite in suites:
            table.add_column(self._title(suite), no_wrap=True)
        for model in dict.fromkeys(model for model, _ in self.scores):
            cells = [self._cell(model, suite) for suite in suites]
            table.add_row(model, *cells, style="bold" if model == MERGED else "")
        return table

    def _title(self, suite: str) -> str:
        score = next(score for (_, name), score in self.scores.items() if name == suite)
        return f"{suite} ({score.metric}, n={score.n})"

    def _cell(self, model: str, suite: str) -> Text:
        score = self.scores.get((model, suite))
        if score is None:
            return Text("-")
        text = Text(f"{score.value:.3f} [{score.ci95[0]:.3f}, {score.ci95[1]:.3f}]")
        difference = self.differences.get((model, suite))
        if difference is not None:
            low, high = difference.ci95
            style = "green" if low > 0 else "red" if high < 0 else "dim"
            text.append(f"  {difference.value:+.3f} [{low:+.3f}, {high:+.3f}]", style=style)
        return text
