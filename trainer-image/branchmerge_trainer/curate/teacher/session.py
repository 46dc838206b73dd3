"""One endpoint and its log, for as long as something is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from branchmerge.api.endpoint import Endpoint
from branchmerge_trainer.curate.teacher.asker import Asker, Standing
from branchmerge_trainer.curate.teacher.flow import in_order
from branchmerge_trainer.curate.teacher.log import AnswerLog
from branchmerge_trainer.progress import ProgressReporter

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_OPEN_REQUESTS = 4096
"""So many requests are prepared or answered ahead of the one whose turn it is, so that a slow one delays no others."""

Report = Callable[[Standing], None]
"""Told how far the asking is: some times a second, and at the end; in the thread of whoever takes the results."""


class Session:
    """Has an endpoint work on items. Use it as a context: it holds the log's lock."""

    def __init__(self, endpoint: Endpoint, key: str | None, folder: Path, report: Report, field: str) -> None:
        """`folder`: of the log. `key` is sent to the endpoint and nowhere else. `field`: what messages call it."""
        self._endpoint = endpoint
        self._report = report
        self.log = AnswerLog(folder)
        self.asker = Asker(endpoint, key, self.log, field)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.log.close()

    def results(
        self, items: Iterable[_Item], work: Callable[[_Item], Coroutine[Any, Any, _Result]], *, requests: int = 1
    ) -> Iterator[tuple[_Item, _Result]]:
        """Yield each item with the result of its work, in order; each makes so many `requests` of the asker.

        Raises InputError and TransientError as the asker does.
        """
        window = max(1, max(_OPEN_REQUESTS, 4 * self._endpoint.limits.concurrency) // requests)
        yield from in_order(items, work, window=window, tick=self._tick, close=self.asker.close)
        self._tick()
        self.asker.conclude()

    def _tick(self) -> None:
        self.log.sync_if_due()
        self._report(self.asker.standing)
        self.asker.check()


def to_progress(progress: ProgressReporter, phase: str, requests: int | None) -> Report:
    """Reports a session as a phase of a stage whose steps are answers; `requests`: in all, if that is known.

    What keeps the endpoint from answering is told with the phase.
    """
    told, trouble = 0, None
    progress.phase(phase, step=0, steps=requests)

    def report(standing: Standing) -> None:
        nonlocal told, trouble
        if standing.trouble != trouble:
            trouble = standing.trouble
            progress.phase(phase if trouble is None else f"{phase} ({trouble})")
        progress.advance(standing.answered, tokens=standing.new_tokens - told)
        told = standing.new_tokens

    return report
