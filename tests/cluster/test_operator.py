"""A job from `kubectl apply` to Succeeded, as a user of Kubernetes sees it."""

import json

import pytest

from deployment.bench import Bench, quick_job
from localcluster.kubectl import has_condition

STAGES = [
    "inputs",
    "curate/math",
    "curate/coding",
    "train/math",
    "train/coding",
    "merge/final",
    "evaluate/student",
    "evaluate/merged",
    "report",
]


def test_a_job_succeeds_and_says_so_wherever_one_looks(bench: Bench) -> None:
    bench.apply(quick_job("plain"))
    bench.kubectl("wait", "dj/plain", "-n", bench.namespace, "--for=condition=Succeeded", "--timeout=120s", timeout=130)

    job = bench.kubectl.get("distillationjob", "plain", bench.namespace)
    status = job["status"]
    assert (status["phase"], status["progress"], status["branches"]) == ("Succeeded", "100%", "2/2")
    assert status["observedGeneration"] == job["metadata"]["generation"]
    assert [(each["name"], each["state"], each["attempts"]) for each in status["stages"]] == [
        (stage, "Succeeded", 1) for stage in STAGES
    ]
    kinds = {each["name"].split("/")[0]: each["child"]["kind"] for each in status["stages"]}
    assert kinds["train"] == "PyTorchJob"
    assert set(kinds.values()) == {"PyTorchJob", "Job"}
    assert has_condition(job, "Accepted")
    owners = [child["metadata"]["ownerReferences"][0]["uid"] for child in bench.children("plain")]
    assert owners == [job["metadata"]["uid"]] * len(STAGES)
    listed = bench.kubectl("get", "distillationjobs", "-n", bench.namespace)
    assert listed.splitlines()[1].split()[:4] == ["plain", "Succeeded", "100%", "2/2"]
    described = bench.kubectl("describe", "dj", "plain", "-n", bench.namespace)
    assert "StageSucceeded" in described
    reasons = [reason for reason, _ in bench.events("plain")]
    assert reasons.count("StageSucceeded") == len(STAGES)
    assert len(bench.events("plain")) == len(set(bench.events("plain"))), "each thing is told once"


def test_helm_test_passes(bench: Bench) -> None:
    assert "Succeeded" in bench.release.helm("test", bench.release.name)


@pytest.mark.parametrize("mode", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_applying_a_job_again_changes_nothing(bench: Bench, mode: tuple[str, ...]) -> None:
    name = "again" + "".join(mode)
    text = json.dumps(quick_job(name, suspend=True))
    where = ("-n", bench.namespace, *mode, "-f", "-")
    bench.kubectl("apply", *where, stdin=text)
    bench.wait_phase(name, "Suspended")
    before = bench.kubectl.get("distillationjob", name, bench.namespace)
    assert bench.kubectl("diff", *where, stdin=text) == ""
    bench.kubectl("apply", *where, stdin=text)
    after = bench.kubectl.get("distillationjob", name, bench.namespace)
    assert (after["metadata"]["generation"], after["status"]) == (1, before["status"])
