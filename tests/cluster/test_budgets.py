"""How long a job tries: failures, disruptions, policies, deadlines, and what becomes of it afterwards."""

from datetime import datetime, timedelta
from typing import Any

from deployment.bench import Bench, quick_job
from localcluster.waiting import until

BROKEN = {"exit": 1, "message": "boom"}
LONG = {"steps": 600, "seconds": 0.1}
"""A minute of work."""


def states(bench: Bench, name: str) -> dict[str, str]:
    """Stage -> state."""
    return {each["name"]: each["state"] for each in bench.status(name)["stages"]}


def spent(entry: dict[str, Any]) -> tuple[int, int, int]:
    """Attempts, failures and disruptions of a stage."""
    return entry["attempts"], entry["failures"], entry["disruptions"]


def test_failures_back_off_until_the_budget_is_spent_and_a_larger_one_revives_the_job(bench: Bench) -> None:
    retry = {"failures": 1, "backoffSeconds": 4}
    bench.apply(quick_job("revived", {"train/math": BROKEN | {"fail_first": 2}}, retry=retry))
    bench.wait_phase("revived", "Failed")
    entry = bench.stage("revived", "train/math")
    assert spent(entry) == (2, 2, 0)
    assert entry["reason"] == "failed 2 times (retry.failures is 1); at last Told: boom"
    notes = [(reason, note) for reason, note in bench.events("revived") if "train/math" in note]
    told = [reason for reason, _ in notes if reason.startswith("Stage")]
    assert told == ["StageStarted", "StageBackingOff", "StageStarted", "StageFailed", "StageFailed"]
    assert "attempt 1: Told: boom; next attempt at" in next(note for reason, note in notes if "BackingOff" in reason)
    first, second = attempts(bench, "revived", "train/math")
    waited = created(second) - created(first)
    assert waited >= timedelta(seconds=retry["backoffSeconds"])

    bench.patch("revived", retry={"failures": 2})
    bench.wait_phase_after_edit("revived", "Succeeded")
    assert spent(bench.stage("revived", "train/math")) == (3, 2, 0)


def test_disruptions_have_a_budget_of_their_own(bench: Bench) -> None:
    bench.apply(quick_job("unlucky", {"train/math": LONG}, retry={"disruptions": 0, "backoffSeconds": 1}))
    bench.wait_steps("train/math", 3, job="unlucky")
    (pod,) = bench.pods_of("unlucky", "train/math")
    bench.kubectl("delete", "pod", pod["metadata"]["name"], "-n", bench.namespace, "--wait=false")
    bench.wait_phase("unlucky", "Failed")
    entry = bench.stage("unlucky", "train/math")
    assert spent(entry) == (1, 0, 1)
    assert entry["reason"].startswith("was disrupted 1 times (retry.disruptions is 0); at last ")


def test_one_failed_branch_stops_the_others_or_lets_them_go_on(bench: Bench) -> None:
    retry = {"failures": 0}
    wait = {"steps": 40, "seconds": 0.1}
    bench.apply(quick_job("hasty", {"train/math": BROKEN, "train/coding": LONG}, retry=retry))
    patient = {"train/math": BROKEN, "train/coding": wait}
    bench.apply(quick_job("patient", patient, retry=retry, failurePolicy="Continue"))
    for name, coding in {"hasty": "Skipped", "patient": "Succeeded"}.items():
        status = bench.wait_phase(name, "Failed")
        bench.wait_free(name, timeout=1)
        found = states(bench, name)
        assert (found["train/math"], found["train/coding"], found["merge/final"]) == ("Failed", coding, "Skipped")
        failed = next(each for each in status["conditions"] if each["type"] == "Failed")
        assert failed["message"] == "train/math: failed 1 times (retry.failures is 0); at last Told: boom"
    assert len(bench.steps("train/coding", "hasty")) < LONG["steps"]
    assert len(bench.steps("train/coding", "patient")) == wait["steps"]


def test_a_job_that_misses_its_deadline_frees_its_gpus_and_goes_on_with_a_later_one(bench: Bench) -> None:
    slow = {"steps": 80, "seconds": 0.1}
    bench.apply(quick_job("late", {"train/math": slow}, deadlineSeconds=6))
    status = bench.wait_phase("late", "Failed", timeout=40)
    bench.wait_free("late", timeout=1)
    failed = next(each for each in status["conditions"] if each["type"] == "Failed")
    assert failed["reason"] == "DeadlineExceeded"
    assert 0 < len(bench.steps("train/math", "late")) < slow["steps"]
    bench.patch("late", deadlineSeconds=600)
    bench.wait_phase_after_edit("late", "Succeeded")
    assert bench.steps("train/math", "late") == list(range(1, slow["steps"] + 1)), "from its checkpoint on"
    assert spent(bench.stage("late", "train/math")) == (2, 0, 0)


def test_a_job_goes_when_its_time_to_live_is_over_and_its_artifacts_stay(bench: Bench) -> None:
    bench.apply(quick_job("shortlived", ttlSecondsAfterFinished=3))
    where = ("dj/shortlived", "-n", bench.namespace)
    bench.kubectl("wait", *where, "--for=condition=Succeeded", "--timeout=60s")
    bench.kubectl("wait", *where, "--for=delete", "--timeout=30s")
    until("its children to go", lambda: not bench.children("shortlived"), timeout=30)
    until("its pods to go", lambda: not bench.pods("shortlived"), timeout=30)
    assert list(bench.folder.glob("shortlived/stages/report/*/report.html"))


def test_a_running_job_that_is_deleted_leaves_nothing_but_its_artifacts(bench: Bench) -> None:
    bench.apply(quick_job("deleted", {"train/math": LONG}))
    bench.wait_steps("train/math", 3, job="deleted")
    bench.wait_stage("deleted", "train/coding", "Succeeded")
    bench.delete("deleted")
    bench.wait_free("deleted")
    until("its children to go", lambda: not bench.children("deleted"), timeout=30)
    until("its pods to go", lambda: not bench.pods("deleted"), timeout=30)
    done = bench.steps("train/math", "deleted")
    assert list(bench.folder.glob("deleted/stages/train/coding/*/result.json"))
    (checkpoint,) = bench.folder.glob("deleted/stages/train/math/*.work/step")
    assert int(checkpoint.read_text()) == done[-1]


def created(child: dict[str, Any]) -> datetime:
    """When a child was created."""
    return datetime.fromisoformat(child["metadata"]["creationTimestamp"])


def attempts(bench: Bench, name: str, stage: str) -> list[dict[str, Any]]:
    """The children of a stage, oldest first."""
    found = bench.children(name)
    return [child for child in found if child["metadata"]["annotations"].get("branchmerge.dev/stage") == stage]
