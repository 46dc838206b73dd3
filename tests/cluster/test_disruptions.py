"""What takes attempts away, what makes them fail, and what keeps them from working: and how a job goes on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deployment.bench import Bench, quick_job
from localcluster.cluster import Cluster
from localcluster.reading import Object
from localcluster.waiting import until

STEPS = 30
SLOW = {"steps": STEPS, "seconds": 0.1}
"""Three seconds of work."""
GPU = {"pool": "gpu", "gpusPerNode": 1}


def branch(name: str, **resources: Any) -> Object:
    """A branch with resources of its own."""
    return {"name": name, "data": {"sources": [{"path": f"{name}.jsonl"}]}, "resources": resources}


def one_branch(name: str, settings: dict[str, Any], spec: dict[str, Any] | None = None, **resources: Any) -> Object:
    """A job whose only branch, `math`, works as `settings` say."""
    job = quick_job(name, {"train/math": settings}, branches=[branch("math", **(GPU | resources))])
    job["spec"]["merge"] = {"recipe": [{"name": "final", "method": "linear", "models": ["math"]}]}
    del job["spec"]["evaluation"]
    job["spec"] |= spec or {}
    return job


def evict(bench: Bench, pod: Object) -> None:
    """Have the API server evict a pod, as a drain or a descheduler does."""
    name = pod["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": bench.namespace}}
    path = f"/api/v1/namespaces/{bench.namespace}/pods/{name}/eviction"
    bench.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))


def suspend_child(bench: Bench, child: str, *, suspend: bool) -> None:
    """Suspend or resume a PyTorchJob as Kueue does."""
    patch = json.dumps({"spec": {"runPolicy": {"suspend": suspend}}})
    bench.kubectl("patch", "pytorchjob", child, "-n", bench.namespace, "--type=merge", "-p", patch)


@contextmanager
def quota(bench: Bench, name: str, hard: dict[str, str]) -> Iterator[None]:
    """A quota of the namespace, for a while."""
    metadata = {"name": name, "namespace": bench.namespace}
    bench.kubectl.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
    bench.kubectl.wait(
        "resourcequota", name, lambda found: found.get("status", {}).get("hard") == hard, namespace=bench.namespace
    )
    try:
        yield
    finally:
        bench.kubectl("delete", "resourcequota", name, "-n", bench.namespace)


def spent(entry: dict[str, Any]) -> tuple[int, int, int]:
    """Attempts, failures and disruptions of a stage."""
    return entry["attempts"], entry["failures"], entry["disruptions"]


def each_once(steps: list[int]) -> bool:
    """Whether every step was done, and none again."""
    return steps == list(range(1, STEPS + 1))


def test_evicted_stages_go_on_where_they_stopped(bench: Bench) -> None:
    stages = {"train/math": 1, "train/coding": 0, "merge/final": 0}
    job = quick_job("evicted", dict.fromkeys(stages, SLOW), retry={"failures": 0, "backoffSeconds": 3})
    job["spec"]["branches"] = [branch("math", **GPU, nodes=2), branch("coding", **GPU)]
    bench.apply(job)
    for stage, node in stages.items():
        bench.wait_steps(stage, 5, job="evicted")
        evict(bench, bench.pods_of("evicted", stage)[node])
    status = bench.wait_phase("evicted", "Succeeded")
    told = {each["name"]: each for each in status["stages"] if each["name"] in stages}
    assert {name: spent(entry) for name, entry in told.items()} == dict.fromkeys(stages, (2, 0, 1))
    assert all(each_once(bench.steps(stage, "evicted")) for stage in stages), "each attempt goes on from a checkpoint"
    backoffs = [note for reason, note in bench.events("evicted") if reason == "StageBackingOff"]
    assert len(backoffs) == len(stages)
    assert all("EvictionByEvictionAPI" in note for note in backoffs)


def test_a_suspended_job_frees_its_gpus_and_goes_on_in_the_middle_of_a_branch(bench: Bench) -> None:
    bench.apply(one_branch("paused", SLOW, nodes=2))
    bench.wait_steps("train/math", 5, job="paused")
    bench.patch("paused", suspend=True)
    bench.wait_free("paused")
    bench.wait_phase("paused", "Suspended")
    done = len(bench.steps("train/math", "paused"))
    assert done < STEPS
    bench.patch("paused", suspend=False)
    status = bench.wait_phase("paused", "Succeeded")
    assert spent(bench.stage("paused", "train/math")) == (2, 0, 0), "a stop of ours spends nothing"
    assert status["phase"] == "Succeeded"
    assert each_once(bench.steps("train/math", "paused"))


def test_a_branch_without_room_says_so_and_can_be_suspended(bench: Bench) -> None:
    bench.apply(one_branch("crowded", SLOW, {"training": {"globalBatchSize": 9}}, gpusPerNode=9))
    entry = bench.wait_reason("crowded", "train/math", "attempt 1 waits: Unschedulable", "Insufficient nvidia.com/gpu")
    assert entry["state"] == "Running"
    bench.wait("crowded", lambda status: is_stalled(status, "Unschedulable"))
    assert any(reason == "Unschedulable" for reason, _ in bench.events("crowded"))
    bench.patch("crowded", suspend=True)
    bench.wait_phase("crowded", "Suspended")
    assert not [pod for pod in bench.pods("crowded") if pod["status"]["phase"] == "Pending"]
    bench.patch("crowded", suspend=False, branches=[branch("math", **GPU)])
    bench.wait_phase("crowded", "Succeeded")
    assert condition(bench, "crowded", "Stalled")["status"] == "False"


def test_what_cannot_start_says_why(bench: Bench) -> None:
    """What the API server refuses to us and to the training operator, and what the kubelet cannot start."""
    missing = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "no-such", "key": "token"}}}
    bench.apply(one_branch("secretless", {}, {"podTemplate": {"env": [missing]}}))
    with quota(bench, "gpus", {"requests.nvidia.com/gpu": "0"}):
        with quota(bench, "jobs", {"count/jobs.batch": "0"}):
            bench.apply(one_branch("refused", {}))
            bench.wait_reason("refused", "inputs", "was refused", "exceeded quota: jobs")
            bench.wait("refused", lambda status: is_stalled(status, "CannotStart"))
        bench.wait_reason("refused", "train/math", "FailedCreatePod", "exceeded quota: gpus")
    bench.wait_phase("refused", "Succeeded")
    bench.wait_reason("secretless", "inputs", "CreateContainerConfigError", 'secret "no-such" not found')
    bench.delete("secretless")


def test_each_ending_has_its_words(bench: Bench) -> None:
    """One job whose branches fail in different ways; none of them stops the others."""
    endings: dict[str, tuple[dict[str, Any], tuple[int, int, int], tuple[str, ...]]] = {
        "hungry": ({"hogs": 256}, (2, 2, 0), ("OOMKilled", "raise resources.memory")),
        "worker": ({"exit": 1, "message": "boom"}, (2, 2, 0), ("failed 2 times (retry.failures is 1)", "Told: boom")),
        "wrong": ({"exit": 64, "message": "spec.x: wrong: fix it"}, (1, 0, 0), ("Told: spec.x: wrong: fix it",)),
        "flaky": ({"exit": 75, "fail_first": 1}, (2, 1, 0), ("done",)),
    }
    quick = {f"train/{name}": settings for name, (settings, _, _) in endings.items()}
    quick["train/worker@1"], quick["train/worker"] = quick["train/worker"], SLOW | {"steps": 600}
    job = quick_job("endings", quick, failurePolicy="Continue", retry={"failures": 1, "backoffSeconds": 1})
    job["spec"]["branches"] = [branch(name, **GPU, nodes=2 if name == "worker" else 1) for name in endings]
    job["spec"]["merge"]["recipe"][0]["models"] = list(endings)
    bench.apply(job)
    bench.wait_phase("endings", "Failed")
    notes = bench.events("endings")
    for name, (_, counts, words) in endings.items():
        entry = bench.stage("endings", f"train/{name}")
        assert (name, *spent(entry)) == (name, *counts), entry
        assert all(word in entry["reason"] for word in words), entry
        if entry["state"] == "Failed":
            told = [note for reason, note in notes if reason == "StageFailed" and note.startswith(f"train/{name}: ")]
            assert len(told) == 1
            assert all(word in told[0] for word in words)
    assert "Told: spec.x: wrong: fix it" in condition(bench, "endings", "Failed")["message"]


def test_a_pod_that_is_killed_without_words_is_a_disruption(bench: Bench, cluster: Cluster) -> None:
    bench.apply(one_branch("killed", SLOW, {"retry": {"failures": 0, "backoffSeconds": 1}}))
    bench.wait_steps("train/math", 5, job="killed")
    (pod,) = bench.pods_of("killed", "train/math")
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    cluster.node(pod["spec"]["nodeName"]).ctr("tasks", "kill", "--signal", "SIGKILL", container)
    bench.wait_phase("killed", "Succeeded")
    assert spent(bench.stage("killed", "train/math")) == (2, 0, 1)
    went_on(bench.steps("train/math", "killed"))


def test_what_people_and_queues_take_away_by_hand_is_no_failure(bench: Bench) -> None:
    """A deleted pod of a gang, a deleted child, and a child that its queue suspends and resumes."""
    names = ("podless", "childless", "queued")
    for name in names:
        bench.apply(one_branch(name, SLOW | {"seconds": 0.3}, {"retry": {"failures": 0, "backoffSeconds": 3}}, nodes=2))
    for name in names:
        bench.wait_steps("train/math", 5, job=name)
        child = bench.stage(name, "train/math")["child"]["name"]
        match name:
            case "podless":
                bench.kubectl("delete", "pod", f"{child}-worker-1", "-n", bench.namespace, "--wait=false")
            case "childless":
                bench.kubectl("delete", "pytorchjob", child, "-n", bench.namespace, "--wait=false")
            case _:
                suspend_child(bench, child, suspend=True)
    # The training operator would count a pod that has ended among those of the child that goes on.
    until("the pods of queued to go", lambda: not bench.pods_of("queued", "train/math"), timeout=30)
    bench.wait_reason("queued", "train/math", "attempt 1 waits: Queued")
    waited_at = bench.steps("train/math", "queued")
    suspend_child(bench, child, suspend=False)
    for name in names:
        bench.wait_phase(name, "Succeeded")
        assert each_once(bench.steps("train/math", name)), name
    assert len(waited_at) < STEPS
    assert spent(bench.stage("podless", "train/math")) == (2, 0, 1)
    told = [note for reason, note in bench.events("podless") if reason == "StageBackingOff"]
    assert len(told) == 1
    assert "somebody deleted" in told[0] or "told to end from outside" in told[0]
    assert spent(bench.stage("childless", "train/math")) == (1, 0, 0), "nobody is left who knows of the first attempt"
    assert spent(bench.stage("queued", "train/math")) == (1, 0, 0), "it is the same attempt that goes on"


def test_a_drained_node_disrupts_its_branch_which_waits_for_room(bench: Bench) -> None:
    bench.apply(one_branch("drained", SLOW, {"retry": {"failures": 0, "backoffSeconds": 1}}, pool="gpu-b"))
    bench.wait_steps("train/math", 5, job="drained")
    drain = ("drain", "gpu-b", "--force", "--ignore-daemonsets", "--pod-selector=branchmerge.dev/job=drained")
    try:
        bench.kubectl(*drain, "--delete-emptydir-data", "--timeout=60s")
        bench.wait_reason("drained", "train/math", "attempt 2 waits: Unschedulable", "unschedulable")
    finally:
        bench.kubectl("uncordon", "gpu-b")
    bench.wait_phase("drained", "Succeeded")
    assert spent(bench.stage("drained", "train/math")) == (2, 0, 1)
    assert each_once(bench.steps("train/math", "drained"))


def test_a_branch_of_a_lost_node_goes_on_elsewhere_while_the_node_is_away(
    bench: Bench, cluster: Cluster, lost_node: str
) -> None:
    job = one_branch("lost", SLOW | {"every": 10, "seconds": 0.3}, pool=lost_node)
    job["spec"]["training"]["checkpoint"] = {"gracePeriodSeconds": 5}
    job["spec"]["retry"] = {"failures": 0, "backoffSeconds": 1}
    bench.apply(job)
    bench.wait_steps("train/math", 12, job="lost")
    cluster.node(lost_node).lose()
    before = bench.steps("train/math", "lost")
    bench.patch("lost", branches=[branch("math", **GPU | {"pool": "gpu-a"})])  # resources are no part of what it is
    bench.wait_phase("lost", "Succeeded", timeout=150)
    assert spent(bench.stage("lost", "train/math")) == (2, 0, 1)
    after = bench.steps("train/math", "lost")[len(before) :]
    assert after == list(range(before[-1] // 10 * 10 + 1, STEPS + 1)), "from the last checkpoint on"
    gone = [pod for pod in bench.pods("lost") if pod["spec"].get("nodeName") == lost_node]
    assert [pod["metadata"].get("deletionTimestamp") is None for pod in gone].count(True) <= 1, "curation ended there"


def condition(bench: Bench, name: str, kind: str) -> dict[str, Any]:
    """A condition of a job."""
    found: dict[str, Any] = next(each for each in bench.status(name)["conditions"] if each["type"] == kind)
    return found


def is_stalled(status: dict[str, Any], reason: str) -> bool:
    """Whether a job makes no progress, for that reason."""
    return any(
        (each["type"], each["status"], each["reason"]) == ("Stalled", "True", reason) for each in status["conditions"]
    )


def went_on(steps: list[int]) -> None:
    """Every step was done; the one in which an attempt was killed may have been done again."""
    assert sorted(set(steps)) == list(range(1, STEPS + 1))
    assert len(steps) <= STEPS + 1
