"""Jobs that change while they run, or that somebody meddles with: only what must be is done again."""

import json

from deployment.bench import Bench, quick_job
from localcluster.reading import Object
from localcluster.waiting import until

STEPS = 40
SLOW = {"steps": STEPS, "seconds": 0.1}
"""Four seconds of work."""
DOWNSTREAM = {"merge/final", "evaluate/merged", "report"}
WEIGHTED = {"recipe": [{"name": "final", "method": "linear", "models": ["math", "coding"], "weights": [0.7, 0.3]}]}


def run_twice(bench: Bench, name: str) -> set[str]:
    """Stages that have done more than the two steps of one run."""
    every = [each["name"] for each in bench.status(name)["stages"]]
    return {stage for stage in every if len(bench.steps(stage, name)) > 2}


def edited(name: str, quick: dict[str, Object], **learning_rates: float) -> list[Object]:
    """The branches of `quick_job`, some with a learning rate of their own."""
    branches: list[Object] = quick_job(name, quick)["spec"]["branches"]
    for branch in branches:
        if branch["name"] in learning_rates:
            branch["training"] = {"learningRate": learning_rates[branch["name"]]}
    return branches


def test_an_edit_of_the_merge_runs_no_branch_again(bench: Bench) -> None:
    bench.apply(quick_job("remerged"))
    bench.wait_phase("remerged", "Succeeded")
    bench.patch("remerged", merge=WEIGHTED)
    bench.wait_phase_after_edit("remerged", "Succeeded")
    assert run_twice(bench, "remerged") == DOWNSTREAM
    assert len(bench.children("remerged")) == len(bench.status("remerged")["stages"]), "what is obsolete is gone"


def test_an_edit_of_a_branch_stops_its_training_and_runs_it_and_what_follows_again(bench: Bench) -> None:
    quick = {"train/math": SLOW}
    bench.apply(quick_job("retrained", quick))
    bench.wait_steps("train/math", 5, job="retrained")
    bench.wait_stage("retrained", "train/coding", "Succeeded")
    before = bench.stage("retrained", "train/math")
    bench.patch("retrained", branches=edited("retrained", quick, math=2e-5))
    bench.wait_phase_after_edit("retrained", "Succeeded")
    after = bench.stage("retrained", "train/math")
    assert after["fingerprint"] != before["fingerprint"]
    assert (after["attempts"], after["failures"], after["disruptions"]) == (1, 0, 0)
    steps = bench.steps("train/math", "retrained")
    first, second = steps[:-STEPS], steps[-STEPS:]
    assert first == list(range(1, len(first) + 1)), "the old attempt ended before the new one began"
    assert len(first) < STEPS
    assert second == list(range(1, STEPS + 1))
    assert run_twice(bench, "retrained") == {"train/math"}, "nothing that follows had begun"

    bench.patch("retrained", branches=edited("retrained", quick, math=2e-5, coding=3e-5))
    bench.wait_phase_after_edit("retrained", "Succeeded")
    assert run_twice(bench, "retrained") == {"train/math", "train/coding", *DOWNSTREAM}
    assert len(bench.steps("train/math", "retrained")) == len(steps)


def test_a_job_that_is_created_anew_waits_for_old_pods_and_repeats_nothing_that_was_done(bench: Bench) -> None:
    steps_in_all = 150
    quick = {"train/math": SLOW | {"stubborn": True, "steps": steps_in_all}}
    job = quick_job("reborn", quick)
    job["spec"]["training"]["checkpoint"] = {"gracePeriodSeconds": 8}
    bench.apply(job)
    bench.wait_steps("train/math", 5, job="reborn")
    bench.wait_stage("reborn", "train/coding", "Succeeded")
    bench.delete("reborn")
    bench.apply(job)
    bench.wait_reason("reborn", "inputs", "waits for pods of an earlier job of this name")
    running = [pod for pod in bench.pods("reborn") if pod["status"]["phase"] == "Running"]
    assert all("deletionTimestamp" in pod["metadata"] for pod in running), "only the old ones run"
    bench.wait_phase("reborn", "Succeeded")
    steps = bench.steps("train/math", "reborn")
    assert steps == sorted(steps), "never two writers at a time"
    assert len(steps) <= steps_in_all + 1, "the step in which it was killed may have been done again"
    # What names such as `main` stand for is looked up for every job; what was complete was found in the workspace.
    assert run_twice(bench, "reborn") == {"inputs", "train/math"}


def test_a_child_of_somebody_else_is_told_and_left_alone(bench: Bench) -> None:
    bench.apply(quick_job("robbed"))
    bench.wait_phase("robbed", "Succeeded")
    name = bench.stage("robbed", "merge/final")["child"]["name"]
    bench.delete("robbed")
    until("its children to go", lambda: not bench.children("robbed"), timeout=30)
    pod = {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}
    metadata = {"name": name, "namespace": bench.namespace}
    spec = {"suspend": True, "template": {"spec": pod}}
    bench.kubectl.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
    bench.apply(quick_job("robbed"))
    bench.wait_reason("robbed", "merge/final", f"Job {name} belongs to somebody else: delete it")
    assert bench.kubectl.get("job", name, bench.namespace)["spec"]["suspend"] is True
    bench.kubectl("delete", "job", name, "-n", bench.namespace)
    bench.wait_phase("robbed", "Succeeded")


def test_children_and_a_status_that_somebody_wiped_are_found_again(bench: Bench) -> None:
    bench.apply(quick_job("wiped"))
    bench.wait_phase("wiped", "Succeeded")
    before = bench.status("wiped")
    where = ("distillationjob", "wiped", "-n", bench.namespace)
    bench.kubectl("patch", *where, "--subresource=status", "--type=merge", "-p", json.dumps({"status": None}))
    after = bench.wait("wiped", lambda status: status.get("phase") == "Succeeded")
    assert (after["stages"], after["scores"]) == (before["stages"], before["scores"])

    bench.kubectl("delete", "jobs,pytorchjobs", "-n", bench.namespace, "-l", "branchmerge.dev/job=wiped")
    until("every child to be there again", lambda: len(bench.children("wiped")) == len(before["stages"]), timeout=60)
    bench.wait("wiped", lambda status: status.get("phase") == "Succeeded")
    assert run_twice(bench, "wiped") == set(), "every result was found in the workspace"
