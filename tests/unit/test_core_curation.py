"""What a curation is told and known by: which edit asks a teacher again, and which only chooses among its answers."""

from __future__ import annotations

from typing import Any

import pytest

from branchmerge.api.objects import SecretKeyRef
from branchmerge.api.stage import JUDGE_KEY_ENV, TEACHER_KEY_ENV, CurateTask
from branchmerge.core.graph import build_graph
from branchmerge.core.keys import keys_of
from branchmerge.core.model import Stage
from builders import REMOVED, edited, make_job
from curations import CURATION, TEACHER

DATA = "branches.0.data"
VERIFY = f"{DATA}.verify"
OTHER = {**TEACHER, "model": "v3"}
PINS = {"student": "sha256:1", "suites/house": "sha256:2", "branches/math/sources/0": "sha256:3"}


def curation(edits: dict[str, Any] | None = None, pins: dict[str, str] | None = None, **metadata: Any) -> Stage:
    """`curate/math` of the job that does everything, with edits."""
    job = edited(make_job(CURATION, **metadata), edits or {})
    return build_graph(job, PINS | (pins or {}), {})["curate/math"]


def task_of(stage: Stage) -> CurateTask:
    assert isinstance(stage.task, CurateTask)
    return stage.task


def folders(stage: Stage) -> tuple[str | None, str | None]:
    task = task_of(stage)
    return task.answers, task.verdicts


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param({"teacher.endpoint": "https://elsewhere/v1"}, id="the same teacher elsewhere"),
        pytest.param({"teacher.apiKeySecretRef": {"name": "other", "key": "k"}}, id="another key"),
        pytest.param(
            {"teacher.limits": {"concurrency": 1, "requestsPerMinute": 5, "tokensPerMinute": 5}}, id="a slower pace"
        ),
        pytest.param({"teacher.prices": {"inputPerMillion": "1", "outputPerMillion": "2"}}, id="prices"),
        pytest.param({"teacher.retries": 0, "teacher.requestTimeoutSeconds": 5}, id="patience"),
        pytest.param({f"{VERIFY}.judge.endpoint": "https://elsewhere/v1"}, id="the same judge elsewhere"),
        pytest.param({f"{VERIFY}.judge.limits": {"concurrency": 2}}, id="a slower judge"),
        pytest.param({f"{DATA}.resources": {"cpu": "4"}}, id="resources"),
        pytest.param({"branches.1.teacher": OTHER}, id="a teacher of another branch"),
        pytest.param({"branches.0.teacher": TEACHER}, id="the branch's own teacher who is the same"),
        pytest.param({"evaluation.suites.0.samples": 1, "evaluation.suites.0.role": "Validation"}, id="use of a suite"),
        pytest.param({f"{DATA}.sources.0.prompts.path": "copies/p.jsonl"}, id="folder of pinned prompts"),
    ],
)
def test_what_determines_no_row(edits: dict[str, Any]) -> None:
    if "evaluation.suites.0.role" in edits:
        edits = edits | {"evaluation.gates": []}
    assert curation(edits).fingerprint == curation().fingerprint


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param({f"{VERIFY}.minPassRate": 0.5}, id="a pass rate"),
        pytest.param({f"{DATA}.select.maxPerPrompt": 2}, id="a selection"),
        pytest.param({f"{DATA}.require.boxedAnswer": True}, id="a requirement"),
        pytest.param({f"{DATA}.deduplicate.nearThreshold": 0.7}, id="a similarity"),
        pytest.param({f"{DATA}.decontaminate.ngram": 8}, id="an overlap"),
        pytest.param({f"{DATA}.limits.maxTokens": 100}, id="a limit"),
        pytest.param({f"{DATA}.shuffle.seed": 1}, id="an order"),
        pytest.param({f"{DATA}.sources.0.weight": 1.0}, id="a weight"),
        pytest.param({f"{DATA}.sources.0.maxRows": 99}, id="a cap of a source"),
        pytest.param({f"{DATA}.sources.0.prompts.column": "question"}, id="another column of the prompts"),
        pytest.param({"teacher.sampling": {"samples": 4}}, id="more answers a prompt"),
        pytest.param({"teacher.limits": {"maxTokens": 1000}}, id="a budget of tokens"),
        pytest.param({f"{VERIFY}.judge.limits": {"maxTokens": 1000}}, id="a budget of the judge"),
        pytest.param({"evaluation.suites.2": {"name": "n", "path": "n.jsonl", "method": "exact"}}, id="a suite more"),
    ],
)
def test_what_changes_the_rows_and_asks_nothing_again(edits: dict[str, Any]) -> None:
    before, after = curation(), curation(edits)
    assert after.fingerprint != before.fingerprint
    assert folders(after) == folders(before)


@pytest.mark.parametrize(
    ("edits", "teacher", "judge"),
    [
        pytest.param({"teacher.model": "v3"}, True, False, id="another teacher"),
        pytest.param({"branches.0.teacher": OTHER}, True, False, id="a teacher of the branch"),
        pytest.param({"teacher.systemPrompt": "Think."}, True, False, id="a system prompt"),
        pytest.param({"teacher.sampling": {"temperature": 1.0}}, True, False, id="a temperature"),
        pytest.param({"teacher.sampling": {"maxTokens": 99}}, True, False, id="a length"),
        pytest.param({"teacher.sampling": {"seed": 1}}, True, False, id="a seed"),
        pytest.param({f"{VERIFY}.judge.rubric": "Is it wrong?"}, False, True, id="a rubric"),
        pytest.param({f"{VERIFY}.judge.maxTokens": 9}, False, True, id="a length of verdicts"),
        pytest.param({f"{VERIFY}.judge.model": "r1"}, False, True, id="another judge"),
    ],
)
def test_what_is_asked_anew(edits: dict[str, Any], teacher: bool, judge: bool) -> None:
    before, after = curation(), curation(edits)
    assert after.fingerprint != before.fingerprint
    changed = [old != new for old, new in zip(folders(before), folders(after), strict=True)]
    assert changed == [teacher, judge]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param("branches/math/sources/0", True, id="prompts"),
        pytest.param("suites/house", True, id="a suite that rows are decontaminated against"),
        pytest.param("student", True, id="the student whose tokenizer counts"),
    ],
)
def test_inputs_count_by_their_content(name: str, changes: bool) -> None:
    assert (curation(pins={name: "sha256:9"}).fingerprint != curation().fingerprint) is changes


@pytest.mark.parametrize(
    ("edits", "name"),
    [
        pytest.param({f"{DATA}.decontaminate": REMOVED}, "suites/house", id="a suite without decontamination"),
        pytest.param({f"{DATA}.limits.maxTokens": REMOVED}, "student", id="the student without limits in tokens"),
    ],
)
def test_inputs_that_a_curation_does_not_use_do_not_count(edits: dict[str, Any], name: str) -> None:
    assert curation(edits, {name: "sha256:9"}).fingerprint == curation(edits).fingerprint


def test_a_curation_is_told_what_it_needs() -> None:
    task = task_of(curation())
    assert task.teacher is not None
    assert (task.teacher.model, [suite.name for suite in task.suites]) == ("r1", ["house", "guide"])
    assert task.student is not None
    assert (task.student.name, task.student.model) == ("student", "models/student")
    assert keys_of(task) == {
        TEACHER_KEY_ENV: SecretKeyRef(name="teacher", key="api-key"),
        JUDGE_KEY_ENV: SecretKeyRef(name="teacher", key="judge.key"),
    }


def test_a_curation_is_told_nothing_that_it_does_not_need() -> None:
    job = make_job({"teacher": TEACHER, "branches.1.teacher": OTHER})
    for branch in ("math", "coding"):
        task = build_graph(job, {}, {})[f"curate/{branch}"].task
        assert task == CurateTask(branch=branch, data=job.spec.branches[branch == "coding"].data)
        assert keys_of(task) == {}


def test_answers_are_kept_by_job_and_branch() -> None:
    answers, verdicts = folders(curation(name="one"))
    assert answers is not None
    assert answers.startswith("answers/one/math/teacher-")
    assert verdicts is not None
    assert verdicts.startswith("answers/one/math/judge-")


def test_a_job_of_another_name_has_its_own_answers_and_finds_the_same_rows() -> None:
    one, two = curation(name="one"), curation(name="two")
    assert one.fingerprint == two.fingerprint
    assert not {*folders(one)} & {*folders(two)}


def test_prompts_of_the_hub_are_read_at_their_commit() -> None:
    edits = {f"{DATA}.sources": [{"prompts": {"dataset": {"repo": "acme/p", "split": "hard"}}, "weight": 1.0}]}
    task = task_of(curation(edits, {"branches/math/sources/0": "c" * 40}))
    prompts = task.data.sources[0].prompts
    assert prompts is not None
    assert prompts.dataset is not None
    assert (prompts.dataset.revision, prompts.dataset.split) == ("c" * 40, "hard")


def test_a_curation_has_its_own_resources() -> None:
    stage = curation()
    assert (stage.resources.pool, stage.resources.cpu) == ("h100", "16")
    other = build_graph(make_job(CURATION), {}, {})["curate/coding"]
    assert (other.resources.pool, other.resources.cpu) == (None, None)


def test_only_the_sandbox_of_what_is_run_may_differ() -> None:
    code = {VERIFY: {"method": "code"}}
    without = {VERIFY: {"method": "code", "allowUnsandboxed": True}}
    assert curation(code).fingerprint == curation(without).fingerprint
    assert curation(code).fingerprint != curation({VERIFY: {"method": "code", "timeoutSeconds": 5}}).fingerprint
