"""A world in which attempts are told how to end: an executor without machines, for tests of the core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from branchmerge.api.resource import DistillationJob
from branchmerge.api.stage import StageKind, StageResult
from branchmerge.core.graph import build_graph
from branchmerge.core.model import (
    Action,
    Attempt,
    AttemptState,
    FailureClass,
    Graph,
    JobState,
    Observation,
    Plan,
    StageKey,
    Start,
    Stop,
)
from branchmerge.core.plan import plan
from builders import at, make_gate_result, make_result

AttemptId = tuple[str, str, int]
Ending = Callable[[Attempt], FailureClass | None]
"""How an attempt that is not told to stop ends: None is well."""


class World:
    """Attempts, results and a clock. `perform` refuses what no plan may ask for."""

    def __init__(self, job: DistillationJob) -> None:
        self.job = job
        self.now: datetime = at(0)
        self.started_at: datetime = at(0)
        self.forgiven_before: datetime | None = None
        self.attempts: dict[AttemptId, Attempt] = {}
        self.results: dict[StageKey, StageResult] = {}
        self.pins: dict[str, str] = {}
        self.obstacles: dict[str, str] = {}
        self.starts: list[AttemptId] = []
        self.gpus = 0
        self.gates_pass = True
        self.same_rows: set[str] = set()
        """Branches whose curation ends in the same rows whatever is edited."""

    def graph(self) -> Graph:
        return build_graph(self.job, self.pins, self.results)

    def observe(self) -> Observation:
        return Observation(
            now=self.now,
            attempts=tuple(self.attempts.values()),
            results=dict(self.results),
            pins=dict(self.pins),
            started_at=self.started_at,
            forgiven_before=self.forgiven_before,
            obstacles=dict(self.obstacles),
        )

    def plan(self) -> Plan:
        return plan(self.job, self.graph(), self.observe())

    def perform(self, actions: Iterable[Action]) -> None:
        """Carry out actions as an executor does: each of them may be repeated without further effect."""
        for action in actions:
            if isinstance(action, Start):
                self._start(action)
            elif isinstance(action, Stop):
                self._change(action.attempt, state=AttemptState.STOPPING)
            else:
                assert not action.attempt.active, "only what has ended may be forgotten"
                self.attempts.pop(_id(action.attempt), None)

    def settle(self) -> Plan:
        """One pass: plan, and carry it out."""
        made = self.plan()
        self.perform(made.actions)
        return made

    def active(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts.values() if attempt.active]

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def publish(self, attempt: Attempt) -> None:
        """The attempt's output is in the workspace; its process still runs."""
        branch = attempt.stage.removeprefix(f"{StageKind.CURATE}/")
        rows = {"digest": f"rows of {branch}"} if branch in self.same_rows else {}
        gates = self.job.spec.evaluation.gates if self.job.spec.evaluation else []
        judged = [make_gate_result(gate.suite, passed=self.gates_pass) for gate in gates]
        self.results[attempt.key] = make_result(
            *attempt.key,
            gates=judged if attempt.stage == StageKind.REPORT else [],
            started_at=attempt.started_at,
            finished_at=self.now,
            **rows,
        )

    def end(self, attempt: Attempt, failure: FailureClass | None = None) -> None:
        """The attempt ends: well and with a result, or as `failure` says."""
        if failure is None:
            if attempt.key not in self.results:
                self.publish(attempt)
            self._change(attempt, state=AttemptState.SUCCEEDED, ended_at=self.now)
        else:
            self._change(
                attempt, state=AttemptState.FAILED, ended_at=self.now, failure=failure, reason="Error", message="boom"
            )

    def run(self, ending: Ending = lambda _: None, passes: int = 400) -> Plan:
        """Pass after pass until the job has ended, every attempt as `ending` says, waiting where the plan waits."""
        for _ in range(passes):
            made = self.settle()
            if made.state is not JobState.RUNNING:
                return made
            if not self.active():
                assert made.wake_at is not None, "nothing runs, and nothing will wake the job"
                self.now = max(self.now, made.wake_at)
            for attempt in self.active():
                stopping = attempt.state is AttemptState.STOPPING
                self.end(attempt, FailureClass.STOPPED if stopping else ending(attempt))
            self.advance(1)
        raise AssertionError(f"the job has not ended after {passes} passes: {made.message}")

    def _start(self, action: Start) -> None:
        config = action.config
        key, number = (config.stage, config.fingerprint), config.attempt
        if (*key, number) in self.attempts:
            return
        assert key not in self.results, f"{config.stage} runs again although it is done"
        assert action.stage.key == key
        graph = self.graph()
        missing = [need for need in action.stage.needs if graph[need].key not in self.results]
        assert not missing, f"{config.stage} starts before {missing}"
        others = [each.number for each in self.active() if each.stage == config.stage]
        assert not others, f"{config.stage} starts while attempts {others} are active"
        numbers = [each.number for each in self.attempts.values() if each.key == key]
        assert number == 1 + max(numbers, default=0)
        self.attempts[(*key, number)] = Attempt(*key, number, AttemptState.RUNNING, started_at=self.now, gpus=self.gpus)
        self.starts.append((*key, number))

    def _change(self, attempt: Attempt, **fields: Any) -> None:
        known = self.attempts[_id(attempt)]
        if known.active:
            self.attempts[_id(attempt)] = replace(known, **fields)


def started_stages(starts: Sequence[AttemptId]) -> list[str]:
    """Names of the stages that were started, in order."""
    return [stage for stage, _, _ in starts]


def _id(attempt: Attempt) -> AttemptId:
    return (attempt.stage, attempt.fingerprint, attempt.number)
