"""What determines the output of each kind of stage.

No ingredient: resources, retry, where and how often checkpoints are written, names of jobs and folders, where and how
fast a teacher answers and what that costs, whether code was run without a sandbox, and the two settings that only trade
memory for time (`microBatchSize`, `gradientCheckpointing`: loss and gradient are equal, so a branch that ran out of
memory goes on from its checkpoint with a smaller one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from branchmerge.api.data import DataSpec, Replay, Source
from branchmerge.api.evaluation import Evaluation, Gate, Suite
from branchmerge.api.merge import Merge, MergeStep
from branchmerge.api.stage import StageKind
from branchmerge.api.teacher import Teacher
from branchmerge.api.training import Training
from branchmerge.api.verification import Judge, Verify
from branchmerge.core.fingerprint import Ingredients, ingredients_of
from branchmerge.core.inputs import InputRef

Identity = Mapping[str, str]
"""What stands for an input; see `InputRef.identity`."""
Upstream = Mapping[str, str]
"""Stage name -> fingerprint."""

_HOW_NOT_WHAT = {"checkpoint", "micro_batch_size", "gradient_checkpointing"}
_HOW_TO_ASK = {"endpoint", "api_key_secret_ref", "limits", "prices", "request_timeout_seconds", "retries"}
"""Of an endpoint, what does not change its words: the same model may answer elsewhere, and faster."""


def inputs_ingredients(refs: Sequence[InputRef], job: str) -> Ingredients:
    """What inputs are. Names whose content may change are looked up anew for each job: `job` is its uid."""
    named = [{"kind": ref.kind, **ref.identity({})} for ref in refs]
    return ingredients_of(StageKind.INPUTS, inputs=named, job=job)


def curate_ingredients(
    data: DataSpec,
    sources: Sequence[Identity],
    teacher: Teacher | None,
    suites: Mapping[str, Identity],
    student: Identity | None,
) -> Ingredients:
    """A branch's rows: its sources by content, who answers the prompts among them, and which rows are kept.

    `suites`: what rows are decontaminated against, `student`: whose tokenizer counts tokens, where they are.
    """
    described = [_source(source, identity) for source, identity in zip(data.sources, sources, strict=True)]
    return ingredients_of(
        StageKind.CURATE,
        sources=described,
        teacher=None if teacher is None else _asked(teacher),
        verify=None if data.verify is None else _verify(data.verify),
        suites={name: dict(identity) for name, identity in suites.items()},
        student=None if student is None else dict(student),
        **_plain(data, exclude={"sources", "verify", "resources"}),
    )


def said_by(endpoint: Teacher | Judge) -> Ingredients:
    """What determines the words of an endpoint: equal for equal answers, however many are drawn and kept."""
    said = _plain(endpoint, exclude=_HOW_TO_ASK)
    said.get("sampling", {}).pop("samples", None)
    return said


def train_ingredients(
    student: Identity,
    training: Training,
    template: Identity | None,
    rows: str,
    replay: Replay | None,
    replay_rows: Mapping[str, str],
) -> Ingredients:
    """A specialist. `rows` and `replay_rows` (branch -> rows) are content digests of curated rows.

    `template` stands for a chat template of the user's own; None where the setting is a name.
    """
    settings = _plain(training, exclude=_HOW_NOT_WHAT) | {"epochs": training.resolved_epochs}
    if template is not None:
        settings["chatTemplate"] = dict(template)
    mixed = None if replay is None else {**_plain(replay), "rows": dict(replay_rows)}
    return ingredients_of(StageKind.TRAIN, student=dict(student), rows=rows, training=settings, replay=mixed)


def merge_ingredients(merge: Merge, step: MergeStep, student: Identity, upstream: Upstream) -> Ingredients:
    """The output of one step of a recipe. The student counts always: it lends tokenizer and chat template."""
    return ingredients_of(
        StageKind.MERGE,
        student=dict(student),
        inputs=dict(upstream),
        step=_plain(step, exclude={"name"}),
        **_plain(merge, exclude={"recipe", "candidates", "minimum_gain", "resources"}),
    )


def evaluate_ingredients(
    evaluation: Evaluation, suites: Mapping[str, Identity], student: Identity | None, upstream: Upstream
) -> Ingredients:
    """The scores of one model: the student, or what the upstream stage made. Roles of suites do not matter to it."""
    return ingredients_of(
        StageKind.EVALUATE,
        student=None if student is None else dict(student),
        inputs=dict(upstream),
        suites={suite.name: _suite(suite, suites.get(suite.name, {})) for suite in evaluation.suites},
        engine=str(evaluation.engine),
        seed=evaluation.seed,
    )


def report_ingredients(suites: Sequence[Suite], gates: Sequence[Gate], upstream: Upstream) -> Ingredients:
    """The report: every stage's output, what suites are for, and the gates. Costs are no ingredient."""
    return ingredients_of(
        StageKind.REPORT,
        inputs=dict(upstream),
        roles={suite.name: str(suite.role) for suite in suites},
        gates=[_plain(gate) for gate in gates],
    )


def _source(source: Source, identity: Identity) -> dict[str, Any]:
    described: dict[str, Any] = {**identity, **_plain(source, exclude={"dataset", "path", "prompts", "columns"})}
    if source.prompts is None:
        described["columns"] = _plain(source.resolved_columns)
    else:
        described["prompts"] = source.prompts.column
    if source.hub_dataset is not None:
        described |= _plain(source.hub_dataset, exclude={"repo", "revision"})
    return described


def _asked(endpoint: Teacher | Judge) -> dict[str, Any]:
    """What an endpoint is asked, and when it is not asked any more."""
    budget = endpoint.limits.model_dump(
        mode="json", by_alias=True, exclude_none=True, include={"max_tokens", "max_cost"}
    )
    return {**_plain(endpoint, exclude=_HOW_TO_ASK), "limits": budget}


def _verify(verify: Verify) -> dict[str, Any]:
    judged = {} if verify.judge is None else {"judge": _asked(verify.judge)}
    return {**_plain(verify, exclude={"judge", "allow_unsandboxed"}), **judged}


def _suite(suite: Suite, identity: Identity) -> dict[str, Any]:
    return {**_plain(suite, exclude={"name", "path", "role", "allow_unsandboxed"}), **identity}


def _plain(model: BaseModel, exclude: set[str] | None = None) -> dict[str, Any]:
    """The model as plain JSON, defaults filled in."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=exclude)
