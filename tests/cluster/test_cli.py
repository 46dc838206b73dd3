"""`branchmerge` typed at a job on a cluster: what it shows, what it changes, and what it says of a mistake."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from appliedjob import AppliedJob
from branchmerge.core.model import FailureClass
from builders import make_document
from commandline import CommandLine
from limiteduser import write_kubeconfig
from localcluster.controlplane import ControlPlane
from localcluster.kubectl import Kubectl, has_condition

ROOT = Path(__file__).parents[2]
CRD = "distillationjobs.branchmerge.dev"
ASK = ": ask the cluster's administrator for this right"


@pytest.fixture(scope="module")
def kubectl(api_only_cluster: ControlPlane) -> Kubectl:
    """kubectl where the definition is known."""
    kubectl = api_only_cluster.kubectl
    kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    kubectl.wait("crd", CRD, lambda crd: has_condition(crd, "Established"))
    return kubectl


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"cli-{uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def line(kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """What a person types whose kubeconfig is the administrator's."""
    monkeypatch.setenv("KUBECONFIG", str(kubectl.kubeconfig))
    return CommandLine(tmp_path)


@pytest.fixture
def training(kubectl: Kubectl, namespace: str) -> AppliedJob:
    """A job whose branches train; one of them failed before."""
    job = AppliedJob(kubectl, namespace)
    job.advance("train")
    attempt = next(each for each in job.world.active() if each.stage == "train/math")
    job.world.end(attempt, FailureClass.FAILURE)
    job.world.advance(31)
    job.write()
    return job


def test_status_shows_stages_and_children(line: CommandLine, training: AppliedJob) -> None:
    run = line.type("status", "tiny", "-n", training.namespace)
    assert run.returncode == 0, run.stderr
    rows = {text.split()[0]: text for text in run.stdout.splitlines() if text.strip()}
    assert rows["tiny"].startswith("tiny Training  5%  branches 0/3")
    assert "✓ done" in rows["curate/math"]
    assert "starting" in rows["train/math"]
    assert "· waiting" in rows["merge/final"]
    assert "train/math: attempts so far: 1 failed" in run.stdout
    stages = {stage["name"]: stage for stage in training.body["status"]["stages"]}
    assert f"train/math: pytorchjob/{stages['train/math']['child']['name']}\n" in run.stdout
    assert stages["train/math"]["attempts"] == 2
    assert f"in namespace {training.namespace}, context " in run.stdout


def test_a_file_names_the_job_and_its_namespace(line: CommandLine, training: AppliedJob) -> None:
    document = make_document({"metadata": {"name": "tiny", "namespace": training.namespace}})
    (line.folder / "job.yaml").write_text(yaml.safe_dump(document))
    run = line.type("status", "job.yaml", "--cluster")
    assert (run.returncode, run.stdout.split()[:2]) == (0, ["tiny", "Training"])
    other = line.type("status", "job.yaml", "-n", "other")
    assert other.returncode == 64
    assert other.stderr == (
        f"error: --namespace: 'other': job.yaml says metadata.namespace: {training.namespace}: name one and the same\n"
    )


def test_a_new_job_has_nothing_to_show_yet(line: CommandLine, kubectl: Kubectl, namespace: str) -> None:
    AppliedJob(kubectl, namespace)
    run = line.type("status", "tiny", "-n", namespace)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("tiny Pending\n")
    assert "the operator has not seen it yet" in run.stdout
    logs = line.type("logs", "tiny", "train/math", "-n", namespace)
    assert (logs.returncode, logs.stderr) == (1, "error: tiny: has no stages yet: the operator has not planned it\n")


def test_a_status_of_an_earlier_spec_says_so(line: CommandLine, training: AppliedJob) -> None:
    patch = {"spec": {"training": {"epochs": 7}}}
    training.kubectl("patch", "dj", "tiny", "-n", training.namespace, "--type=merge", "-p", json.dumps(patch))
    run = line.type("status", "tiny", "-n", training.namespace)
    assert "the spec has changed since: it is of generation 2, this status of 1" in run.stdout


@pytest.mark.parametrize(("failure", "code"), [(None, 0), (FailureClass.PERMANENT, 1)], ids=["succeeds", "fails"])
def test_status_is_followed_to_the_end(
    line: CommandLine, training: AppliedJob, failure: FailureClass | None, code: int
) -> None:
    watching = line.begin("status", "tiny", "-n", training.namespace, "--watch")
    assert watching.stdout is not None
    assert "curate/math: done" in watching.stdout.readline()
    training.world.run(lambda _: failure)
    training.write()
    rest, _ = watching.communicate(timeout=90)
    assert watching.returncode == code, rest
    assert ("report: done" if code == 0 else "train/coding: failed") in rest
    assert ("Succeeded: " if code == 0 else "Failed: ") in rest


def test_a_watch_outlives_an_api_server_that_restarts(
    api_only_cluster: ControlPlane, line: CommandLine, training: AppliedJob
) -> None:
    watching = line.begin("status", "tiny", "-n", training.namespace, "-w")
    assert watching.stdout is not None
    watching.stdout.readline()
    api_only_cluster.restart_apiserver(grace=0)
    training.world.run()
    training.write()
    rest, _ = watching.communicate(timeout=90)
    assert watching.returncode == 0, rest


def test_suspend_and_resume_patch_the_spec_and_wait_for_the_operator(line: CommandLine, training: AppliedJob) -> None:
    where = ("tiny", "-n", training.namespace)
    context = f"--context {training.kubectl('config', 'current-context').strip()}"
    run = line.type("suspend", *where)
    assert run.returncode == 0, run.stderr
    assert run.stdout == (
        "tiny: suspended: train/math, train/coding, train/science and 1 more end, training after a checkpoint; nothing "
        f"starts until branchmerge resume tiny -n {training.namespace} {context}\n"
    )
    assert training.body["spec"]["suspend"] is True
    managers = ("--show-managed-fields", "-o", "jsonpath={.metadata.managedFields[*].manager}")
    assert "branchmerge-cli" in training.kubectl("get", "dj", *where, *managers).split()
    early = line.type("suspend", *where, "--wait", "--timeout", "1")
    assert early.returncode == 1
    assert "tiny: already suspended" in early.stdout
    assert early.stderr.endswith("the operator has not seen the change: look whether it runs\n")
    training.world.job = training.job.model_copy(
        update={"spec": training.job.spec.model_copy(update={"suspend": True})}
    )
    training.world.settle()
    for attempt in training.world.active():
        training.world.end(attempt, FailureClass.STOPPED)
    training.write()
    waited = line.type("suspend", *where, "--wait", "--timeout", "10")
    assert (waited.returncode, waited.stdout.splitlines()[-1]) == (0, "tiny: every stage has stopped")
    status = line.type("status", *where)
    assert "tiny Suspended" in status.stdout
    assert line.type("resume", *where).stdout == "tiny: resumed: stages go on from their last checkpoints\n"
    assert training.body["spec"]["suspend"] is False


def test_a_job_that_has_ended_is_not_suspended(line: CommandLine, training: AppliedJob) -> None:
    training.world.run()
    training.write()
    run = line.type("suspend", "tiny", "-n", training.namespace)
    assert run.returncode == 1
    assert run.stderr == "error: tiny: has ended (Succeeded): there is nothing to suspend\n"
    assert "suspend" not in training.body["spec"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["status", "tyni"], 64, "JOB: no job 'tyni' in namespace {here}", id="no such job: which exist"),
        pytest.param(["logs", "tiny", "train/maths"], 64, "STAGE: no stage 'train/maths': use one of", id="no stage"),
        pytest.param(["logs", "tiny", "report"], 1, "report has not started: waits for", id="a stage to come"),
        pytest.param(
            ["logs", "tiny", "train/math", "--attempt", "3"], 64, "--attempt: no attempt 3: use 1 to 2", id="no attempt"
        ),
        pytest.param(["logs", "tiny", "curate/math"], 1, "its pods are gone, and their logs with", id="pods are gone"),
        pytest.param(["report", "tiny"], 1, "tiny: no report yet (Training 5%): follow the job with", id="no report"),
        pytest.param(["status", "tiny", "--context", "x"], 64, "--context: 'x' is not in", id="no such context"),
        pytest.param(
            ["status", "tiny", "--workspace", "x"], 64, "--workspace: x: is of local runs", id="a local option"
        ),
    ],
)
def test_mistakes(line: CommandLine, training: AppliedJob, arguments: list[str], code: int, said: str) -> None:
    run = line.type(*arguments, "-n", training.namespace)
    assert run.returncode == code
    assert run.stderr.startswith(f"error: {said.format(here=training.namespace)}") or said in run.stderr
    assert run.stderr.count("\n") == 1
    if arguments[1] == "tyni":
        assert run.stderr.endswith(": use one of tiny\n")


def test_a_job_of_another_namespace_is_hinted_at(line: CommandLine, training: AppliedJob) -> None:
    run = line.type("status", "tiny", "-n", "kube-public")
    assert run.returncode == 64
    assert "there are none; some are in " in run.stderr
    assert run.stderr.endswith(": add -n\n")


def unreachable(config: dict) -> None:
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"


def unknown_authority(config: dict) -> None:
    del config["clusters"][0]["cluster"]["certificate-authority-data"]


def without_credentials(config: dict) -> None:
    config["users"][0]["user"] = {"token": "stale"}


def without_context(config: dict) -> None:
    del config["current-context"]


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        pytest.param(unreachable, 1, "the API server does not answer: ", id="unreachable"),
        pytest.param(unknown_authority, 1, "the API server does not answer: ", id="unknown authority"),
        pytest.param(without_credentials, 1, "does not know these credentials: log in again", id="expired token"),
        pytest.param(without_context, 64, "has no current context: name one of ", id="no current context"),
    ],
)
def test_a_cluster_that_is_not_reached(
    line: CommandLine, kubectl: Kubectl, spoil: Callable[[dict], None], code: int, said: str
) -> None:
    config = yaml.safe_load(kubectl.kubeconfig.read_text())
    spoil(config)
    (line.folder / "kubeconfig").write_text(yaml.safe_dump(config))
    run = line.type("status", "tiny", "--cluster", KUBECONFIG="kubeconfig")
    assert run.returncode == code
    assert said in run.stderr
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "denied", "advice"),
    [
        pytest.param(["status", "tiny"], 0, "", "", id="status needs no more"),
        pytest.param(["status", "tyni"], 64, "no job 'tyni'", "correct the name or the namespace", id="a wrong name"),
        pytest.param(["suspend", "tiny"], 1, 'cannot patch resource "distillationjobs"', ASK, id="suspend"),
        pytest.param(["logs", "tiny", "train/math"], 1, 'cannot list resource "pods"', ASK, id="logs"),
    ],
)
def test_who_may_get_the_job_and_nothing_else_is_told_which_right_is_missing(
    line: CommandLine, training: AppliedJob, arguments: list[str], code: int, denied: str, advice: str
) -> None:
    config = line.folder / "kubeconfig"
    write_kubeconfig(config, training.kubectl, training.namespace, {"distillationjobs": ["get"]})
    run = line.type(*arguments, "--cluster", KUBECONFIG=str(config))
    assert run.returncode == code
    assert denied in run.stderr
    assert run.stderr.strip().endswith(advice)
