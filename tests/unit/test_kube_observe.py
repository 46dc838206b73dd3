"""Raw children and pods -> attempts: every way that an attempt can end on Kubernetes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from branchmerge.api.stage import ExitCode, Outcome
from branchmerge.core.model import AttemptState, FailureClass
from branchmerge.kube.observe import attempt_of, lacks_outcome, marked, marks_of, results_of
from builders import EPOCH, at, make_progress, make_result

NOW = at(600)
Raw = dict[str, Any]


def stamp(seconds: float) -> str:
    return (EPOCH + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def child(
    *conditions: str, kind: str = "PyTorchJob", annotations: dict[str, str] | None = None, **metadata: Any
) -> Raw:
    """A child of train/math with conditions that are true."""
    return {
        "kind": kind,
        "metadata": {
            "name": "tiny-train-math-ffffffff-1",
            "creationTimestamp": stamp(0),
            "annotations": {
                "branchmerge.dev/stage": "train/math",
                "branchmerge.dev/fingerprint": "f" * 64,
                "branchmerge.dev/attempt": "1",
                "branchmerge.dev/gpus": "16",
                **(annotations or {}),
            },
            **metadata,
        },
        "status": {
            "conditions": [
                # A condition that was true once comes last: position means nothing.
                *({"type": name, "status": "True", "lastTransitionTime": stamp(300)} for name in conditions),
                {"type": "Running", "status": "False", "lastTransitionTime": stamp(10)},
            ]
        },
    }


def pod(phase: str, exit_code: int | None = None, outcome: Outcome | None = None, **fields: Any) -> Raw:
    """A pod of that child."""
    status: Raw = {"phase": phase}
    if exit_code is not None:
        terminated = {"exitCode": exit_code, "finishedAt": stamp(290), "reason": fields.pop("reason", "Error")}
        if outcome is not None:
            terminated["message"] = outcome.to_bytes().decode()
        status["containerStatuses"] = [{"name": "pytorch", "state": {"terminated": terminated}}]
    if "disruption" in fields:
        reason = fields.pop("disruption")
        status["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "bye"}]
    return {"metadata": {"name": "pod", **fields}, "status": status}


def said(code: int, reason: str = "Error", message: str = "words") -> Outcome:
    return Outcome(exit_code=code, reason=reason, message=message)


INPUT = said(ExitCode.INPUT, "InvalidInput", "spec.x: wrong: fix it")
DISRUPTED = {"branchmerge.dev/disrupted": "EvictionByEvictionAPI: bye"}
STOPPED = {"branchmerge.dev/stopped": "Suspended"}

ENDINGS: dict[str, tuple[Raw, list[Raw], FailureClass, str]] = {
    "a rank failed, its peer was told to end": (
        child("Failed"), [pod("Failed", 143, said(143)), pod("Failed", 1, said(1, "Error", "boom"))],
        FailureClass.FAILURE, "Error"),
    "the user's input is wrong": (
        child("Failed"), [pod("Failed", 64, INPUT)], FailureClass.PERMANENT, "InvalidInput"),
    "out of memory, the launcher had no time for words": (
        child("Failed"), [pod("Failed", 137, reason="OOMKilled")], FailureClass.FAILURE, "OOMKilled"),
    "evicted while it trained": (
        child("Failed"), [pod("Failed", 143, said(143), disruption="EvictionByEvictionAPI")],
        FailureClass.DISRUPTION, "EvictionByEvictionAPI"),
    "preempted, and a peer failed because of it": (
        child("Failed"), [pod("Failed", 1, said(1)), pod("Failed", 137, disruption="PreemptionByScheduler")],
        FailureClass.DISRUPTION, "PreemptionByScheduler"),
    "told to end by someone without a condition": (
        child("Failed"), [pod("Failed", 143, said(143))], FailureClass.DISRUPTION, "Terminated"),
    "its pods are gone without a word": (child("Failed"), [], FailureClass.DISRUPTION, "PodsLost"),
    "its node no longer answers": (
        child("Running"), [pod("Running", deletionTimestamp=stamp(500))], FailureClass.DISRUPTION, "NodeLost"),
    "transient trouble outside": (
        child("Failed"), [pod("Failed", 75, said(75, "Transient"))], FailureClass.FAILURE, "Transient"),
    "a container that never reached the launcher": (
        child("Failed"), [pod("Failed", 127)], FailureClass.FAILURE, "ContainerFailed"),
    "stopped by us, its pods are gone": (
        child("Suspended", annotations=STOPPED), [], FailureClass.STOPPED, "Stopped"),
    "stopped by us, and it failed on the way": (
        child("Failed", annotations=STOPPED), [pod("Failed", 1, said(1))], FailureClass.STOPPED, "Stopped"),
    "the pod is gone, but its outcome was kept": (
        child("Failed", annotations={"branchmerge.dev/outcome": INPUT.to_json()}), [],
        FailureClass.PERMANENT, "InvalidInput"),
}  # fmt: skip

ENDINGS |= {
    "somebody deleted a pod of it, and it saved a checkpoint": (
        child("Failed"), [pod("Failed", 143, said(143), deletionTimestamp=stamp(590))],
        FailureClass.DISRUPTION, "Terminated"),
    "a rank failed, its controller deletes the others": (
        child("Failed"),
        [pod("Failed", 1, said(1, "Error", "boom")), pod("Failed", 143, said(143), deletionTimestamp=stamp(590))],
        FailureClass.FAILURE, "Error"),
    "its evicted pod and the others have ended": (
        child("Suspended", annotations=DISRUPTED), [pod("Failed", 143)],
        FailureClass.DISRUPTION, "EvictionByEvictionAPI"),
    "the gang was told to end on account of a lost node": (
        child("Running", annotations={"branchmerge.dev/disrupted": "NodeLost: node a no longer answers"}),
        [pod("Running", deletionTimestamp=stamp(500)), pod("Failed", 143)], FailureClass.DISRUPTION, "NodeLost"),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDINGS)
def test_each_ending_has_its_class(case: str) -> None:
    raw, pods, failure, reason = ENDINGS[case]
    seen = marked(raw, marks_of(raw, pods, None, NOW))

    attempt = attempt_of(seen, pods, None, NOW)

    assert attempt.state is AttemptState.FAILED
    assert (attempt.failure, attempt.reason) == (failure, reason)
    assert attempt.ended_at is not None
    assert attempt_of(seen, [], None, at(9000)) == attempt, "what was seen outlives the pods"
    assert marks_of(seen, [], None, at(9000)) == {}, "it is put down once"


DELETED = {"branchmerge.dev/disrupted": "PodDeleted: somebody deleted pod"}
TERMINATING = pod("Running", deletionTimestamp=stamp(595))
SUSPENDED = child("Running") | {"spec": {"runPolicy": {"suspend": True}}}

MARKS: dict[str, tuple[Raw, list[Raw], dict[str, str]]] = {
    "somebody deletes a pod of a running gang": (child("Running"), [TERMINATING, pod("Running")], DELETED),
    "its queue suspends it": (SUSPENDED, [TERMINATING], {}),
    "its queue lets it go on, and a pod that had ended is about to go": (
        child("Running"), [pod("Failed", 143, said(143), deletionTimestamp=stamp(595)), pod("Pending")], {}),
    "it has failed, and its controller removes the others": (
        child("Failed"), [TERMINATING, pod("Failed", 143, said(143))], {}),
    "it was told to stop": (child("Running", annotations=STOPPED), [TERMINATING], {}),
    "it is deleted itself": (child("Running", deletionTimestamp=stamp(590)), [TERMINATING], {}),
    "a pod of it was interrupted, and may go on": (child("Running"), [pod("Failed", 143, said(143))], {}),
    "its second node is done before the first": (
        child("Running"), [pod("Succeeded", 0, said(0)), pod("Running")], {}),
    "the input is wrong": (
        child("Running"), [pod("Failed", 64, INPUT)], {"branchmerge.dev/outcome": INPUT.to_json()}),
}  # fmt: skip


@pytest.mark.parametrize("case", MARKS)
def test_what_is_put_down_before_an_attempt_has_ended(case: str) -> None:
    raw, pods, marks = MARKS[case]
    assert marks_of(raw, pods, None, NOW) == marks


def on_node(seconds: float, phase: str = "Running") -> Raw:
    """A pod that came to its node then."""
    raw = pod(phase)
    raw["status"]["startTime"] = stamp(seconds)
    return raw


def test_accelerators_are_its_own_from_the_first_pod_on_a_node() -> None:
    waiting = child("Running")
    assert attempt_of(waiting, [pod("Pending")], None, NOW).allocated_at == NOW, "nothing is allocated yet"

    pods = [pod("Pending"), on_node(60), on_node(50)]
    marks = marks_of(waiting, pods, None, NOW)
    assert marks == {"branchmerge.dev/allocated-at": at(50).isoformat()}
    seen = marked(waiting, marks)
    assert attempt_of(seen, [], None, at(9000)).allocated_at == at(50), "it outlives the pods"
    assert marks_of(seen, [on_node(40)], None, NOW) == {}, "it is put down once"


def test_what_never_came_to_a_node_had_nothing() -> None:
    never = child("Suspended", annotations=STOPPED)
    attempt = attempt_of(marked(never, marks_of(never, [], None, NOW)), [], None, at(9000))
    assert attempt.allocated_at == attempt.ended_at


def test_the_first_step_is_put_down_when_it_is_reported() -> None:
    raw = child("Running")
    loading, training = make_progress(0, 10, 100), make_progress(1, 10, 120)
    assert marks_of(raw, [], loading, NOW) == {}
    marks = marks_of(raw, [], training, NOW)
    assert marks == {"branchmerge.dev/first-step-at": at(120).isoformat()}
    seen = marked(raw, marks)
    assert attempt_of(seen, [], None, NOW).first_step_at == at(120)
    assert marks_of(seen, [], make_progress(5, 10, 500), NOW) == {}, "it is put down once"


ACTIVE: dict[str, tuple[Raw, list[Raw], AttemptState]] = {
    "just created": (child(), [], AttemptState.RUNNING),
    "running": (child("Created", "Running"), [pod("Running")], AttemptState.RUNNING),
    "waits in its queue": (child("Suspended"), [], AttemptState.RUNNING),
    "told to stop, its pods still run": (
        child("Suspended", annotations=STOPPED), [pod("Running")], AttemptState.STOPPING),
    "told to stop, its controller has not seen it yet": (
        child("Running", annotations=STOPPED), [], AttemptState.STOPPING),
    "failed, but others of the gang still save their checkpoint": (
        child("Failed"), [pod("Failed", 1, said(1)), pod("Running", deletionTimestamp=stamp(595))],
        AttemptState.STOPPING),
    "being deleted": (child("Running", deletionTimestamp=stamp(590)), [pod("Running")], AttemptState.STOPPING),
    "a pod within its grace period": (
        child("Running"), [pod("Running", deletionTimestamp=stamp(595))], AttemptState.RUNNING),
    "one of its pods is evicted, the others are told to end": (
        child("Running", annotations=DISRUPTED), [pod("Running", disruption="EvictionByEvictionAPI"), pod("Running")],
        AttemptState.STOPPING),
    "its evicted pod is gone, and its controller has not seen yet that it must not be replaced": (
        child("Running", annotations=DISRUPTED), [], AttemptState.STOPPING),
}  # fmt: skip


@pytest.mark.parametrize("case", ACTIVE)
def test_what_holds_resources_is_active(case: str) -> None:
    raw, pods, state = ACTIVE[case]
    assert attempt_of(raw, pods, None, NOW).state is state


@pytest.mark.parametrize(("kind", "condition"), [("PyTorchJob", "Succeeded"), ("Job", "Complete")])
def test_success_brings_its_result(kind: str, condition: str) -> None:
    result = make_result("train/math", "f" * 64)
    outcome = Outcome(exit_code=0, reason="Completed", result=result)
    raw, pods = child(condition, kind=kind), [pod("Succeeded", 0, outcome)]

    attempt = attempt_of(raw, pods, None, NOW)

    assert attempt.state is AttemptState.SUCCEEDED
    assert attempt.gpus == 16
    assert results_of([(raw, pods)]) == {("train/math", "f" * 64): result}
    assert not lacks_outcome(raw, pods)


def test_only_a_success_without_words_lacks_its_outcome() -> None:
    assert lacks_outcome(child("Succeeded"), [])
    assert lacks_outcome(child("Succeeded"), [pod("Running")])
    assert not lacks_outcome(child("Failed"), [])
    assert not lacks_outcome(child("Running"), [])


def test_words_of_the_kubelet_are_no_outcome() -> None:
    raw, pods = child("Failed"), [pod("Failed", 128)]
    pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = "failed to create containerd task"
    assert attempt_of(raw, pods, None, NOW).failure is FailureClass.FAILURE
