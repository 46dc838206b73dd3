"""Laws of the core over random jobs, edits, crashes and ends of attempts.

`World.perform` asserts the laws of starting: inputs are done, no result is there, no other attempt of the stage is
active, and the number is the next one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from branchmerge.api.resource import DistillationJob
from branchmerge.api.status import StageState, Status
from branchmerge.core.model import Attempt, FailureClass, JobState, Start
from branchmerge.core.plan import plan
from branchmerge.core.status import job_status
from builders import edited
from strategies import edits, jobs
from world import World

ENDINGS: list[FailureClass | None] = [None, *FailureClass]
CLASSES = st.sampled_from(ENDINGS)

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(jobs())
def test_without_trouble_every_stage_runs_once(job: DistillationJob) -> None:
    world = World(job.model_copy(update={"spec": job.spec.model_copy(update={"deadline_seconds": None})}))
    made = world.run()
    assert made.state is JobState.SUCCEEDED
    assert Counter(stage for stage, _, _ in world.starts) == Counter(stage.name for stage in world.graph().stages)


@quick
@given(jobs(), st.lists(CLASSES, min_size=1, max_size=40))
def test_every_job_ends_within_its_budgets(job: DistillationJob, ends: list[FailureClass | None]) -> None:
    """Attempts end as the list says, and well when it is used up."""
    world = World(job)
    remaining = iter(ends)
    made = world.run(lambda _: next(remaining, None))
    assert made.state in (JobState.SUCCEEDED, JobState.FAILED)
    assert not world.active()
    for budget, failure in (
        (job.spec.retry.failures, FailureClass.FAILURE),
        (job.spec.retry.disruptions, FailureClass.DISRUPTION),
        (0, FailureClass.PERMANENT),
    ):
        spent = Counter(each.key for each in world.attempts.values() if each.failure is failure)
        assert max(spent.values(), default=0) <= budget + 1


@quick
@given(jobs())
def test_a_job_read_back_from_its_json_has_the_same_stages(job: DistillationJob) -> None:
    world = World(job)
    world.run()
    before = world.graph()
    world.job = DistillationJob.model_validate_json(job.model_dump_json(by_alias=True))
    assert {stage.key for stage in world.graph().stages} == {stage.key for stage in before.stages}


@quick
@given(jobs(), edits())
def test_what_runs_after_an_edit_is_what_its_inputs_ask_for(job: DistillationJob, changed: dict[str, Any]) -> None:
    """A stage runs again if and only if its key has no result; and when the edit is taken back, nothing does."""
    endless = {"deadlineSeconds": 1_000_000}
    world = World(edited(job, endless))
    world.run()
    before = {stage.key for stage in world.graph().stages}
    starts = len(world.starts)
    world.job = edited(job, changed | endless)
    world.run()
    after = {stage.key for stage in world.graph().stages}
    assert {(stage, known_by) for stage, known_by, _ in world.starts[starts:]} == after - before
    starts = len(world.starts)
    world.job = edited(job, endless)
    world.run()
    assert world.starts[starts:] == []


class Operator(RuleBasedStateMachine):
    """A shell that may be killed after any action, in a world where anything happens to attempts at any time."""

    @initialize(job=jobs())
    def begin(self, job: DistillationJob) -> None:
        self.world = World(job)
        self.status: Status | None = None

    @rule()
    def reconcile(self) -> None:
        """A whole pass; in the world as it leaves it there is nothing to do."""
        self.world.settle()
        assert self.world.plan().actions == ()

    @rule(done=st.integers(0, 5))
    def crash(self, done: int) -> None:
        """The shell dies after some actions; the next one does exactly what is left."""
        made = self.world.plan()
        self.world.perform(made.actions[:done])
        assert self.world.plan().actions == made.actions[done:]

    @precondition(lambda self: self.world.active())
    @rule(which=st.integers(0, 9), failure=CLASSES)
    def end(self, which: int, failure: FailureClass | None) -> None:
        self.world.end(self._active(which), failure)

    @precondition(lambda self: self.world.active())
    @rule(which=st.integers(0, 9))
    def publish(self, which: int) -> None:
        """A result is there before its attempt has exited."""
        self.world.publish(self._active(which))

    @precondition(lambda self: self.world.results)
    @rule(which=st.integers(0, 9))
    def lose(self, which: int) -> None:
        """Someone removes an output."""
        keys = sorted(self.world.results)
        del self.world.results[keys[which % len(keys)]]

    @rule(seconds=st.integers(1, 1000))
    def wait(self, seconds: int) -> None:
        self.world.advance(seconds)

    @rule(changed=edits())
    def edit(self, changed: dict[str, Any]) -> None:
        self.world.job = edited(self.world.job, changed)

    @rule(job=jobs())
    def rewrite(self, job: DistillationJob) -> None:
        self.world.job = job

    @rule(suspend=st.booleans())
    def suspend(self, suspend: bool) -> None:
        self.world.job = edited(self.world.job, {"suspend": suspend})

    @rule()
    def forgive(self) -> None:
        self.world.forgiven_before = self.world.now

    @rule(branch=st.sampled_from(["math", "coding", "science"]))
    def keep_rows(self, branch: str) -> None:
        """From now on this branch's curation ends in the same rows whatever is edited."""
        self.world.same_rows.add(branch)

    @rule(passed=st.booleans())
    def judge(self, passed: bool) -> None:
        self.world.gates_pass = passed

    @invariant()
    def one_attempt_a_stage(self) -> None:
        stages = Counter(each.stage for each in self.world.active())
        assert max(stages.values(), default=0) <= 1

    @invariant()
    def the_plan_depends_on_nothing_but_what_is_observed(self) -> None:
        seen = self.world.observe()
        turned = replace(
            seen,
            attempts=tuple(reversed(seen.attempts)),
            results=dict(reversed(seen.results.items())),
        )
        assert plan(self.world.job, self.world.graph(), turned) == self.world.plan()

    @invariant()
    def the_job_stands_where_its_stages_stand(self) -> None:
        made = self.world.plan()
        done = all(decision.state is StageState.SUCCEEDED for decision in made.decisions)
        if made.state is not JobState.RUNNING:
            assert not self.world.active()
            assert not any(isinstance(action, Start) for action in made.actions)
        assert (made.state is JobState.SUCCEEDED) <= done
        assert made.wake_at is None or made.wake_at > self.world.now
        for decision in made.decisions:
            working = any(attempt.active for attempt in decision.attempts)
            assert not working or decision.state not in (StageState.SKIPPED, StageState.SUSPENDED, StageState.FAILED)
        busy = bool(self.world.active() or made.actions)
        assert busy or made.state is not JobState.RUNNING or made.wake_at is not None, "the job would hang"

    @invariant()
    def the_status_is_valid(self) -> None:
        made, seen = self.world.plan(), self.world.observe()
        found = job_status(self.world.job, made, seen, self.status)
        assert Status.model_validate_json(found.to_json()) == found
        assert found.progress == "100%" or any(each.state is not StageState.SUCCEEDED for each in made.decisions)
        assert job_status(self.world.job, made, seen, found) == found
        self.status = found

    def teardown(self) -> None:
        """Whatever has happened, the job ends once attempts only fail so often."""
        if not hasattr(self, "world"):
            return
        self.suspend(suspend=False)
        endings = iter(ENDINGS * 3)
        made = self.world.run(lambda _: next(endings, None))
        assert made.state in (JobState.SUCCEEDED, JobState.FAILED)
        self.world.settle()
        assert self.world.plan().actions == ()
        assert self.world.plan().state is made.state

    def _active(self, which: int) -> Attempt:
        active = sorted(self.world.active(), key=lambda each: (each.stage, each.fingerprint, each.number))
        return active[which % len(active)]


Operator.TestCase.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestOperator = Operator.TestCase
