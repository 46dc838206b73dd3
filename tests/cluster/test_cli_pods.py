"""`branchmerge logs` and `report` of a job on a cluster, whose stages run as real pods."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from appliedjob import AppliedJob
from commandline import CommandLine
from deployment.workspace import job_namespace
from limiteduser import write_kubeconfig
from localcluster.cluster import Cluster
from localcluster.kubectl import has_condition
from localcluster.reading import Object

ROOT = Path(__file__).parents[2]
RIGHTS = {
    "distillationjobs": ["get"],
    "jobs": ["get"],
    "pods": ["create", "delete", "get", "list"],
    "pods/log": ["get"],
}
COUNTS = """
    for number in 1 2 3 4; do echo line $number of node $PET_NODE_RANK; sleep 0.3; done
    [ "$PET_NODE_RANK" != 0 ] || sleep 8  # its end would take the other one away
"""
PAGE = "<html>" + "".join(f"<p>line {number}: loss 0,5 · ±0.1</p>\n" for number in range(20_000)) + "</html>"
CARD = "# tiny\n\nno newline at the end"


@pytest.fixture
def job(cluster: Cluster, tmp_path: Path) -> Iterator[AppliedJob]:
    """A job in a namespace that enforces restricted Pod Security; its workspace is `tmp_path / "volume"`."""
    cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    with job_namespace(cluster.kubectl, f"cli-{uuid4().hex[:8]}", tmp_path / "volume") as namespace:
        edits = {"branches.0.resources": {"nodes": 2, "pool": "of-these-tests"}}
        yield AppliedJob(cluster.kubectl, namespace, edits)


@pytest.fixture
def line(job: AppliedJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """What a person types who may do in the job's namespace what these commands need, and nothing else."""
    write_kubeconfig(tmp_path / "kubeconfig", job.kubectl, job.namespace, RIGHTS)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    return CommandLine(tmp_path)


def scripted(child: Object, script: str) -> Object:
    """The child with a shell script in place of the trainer."""
    spec: dict[str, Any] = child["spec"]
    replicas = spec.get("pytorchReplicaSpecs", {"": spec}).values()
    for template in (replica["template"] for replica in replicas):
        template["spec"]["containers"][0]["command"] = ["sh", "-c", script]
    return child


def test_the_logs_of_a_branch_on_two_nodes(line: CommandLine, job: AppliedJob) -> None:
    job.advance("train")
    where = ("tiny", "train/math", "-n", job.namespace)
    followed = [line.begin("logs", *where, "--follow", "--node", str(node)) for node in (0, 1)]
    for process in followed:
        assert process.stdout is not None
        assert process.stdout.readline() == "note: attempt 1 of train/math has not started: it has no pod yet\n"
    job.kubectl.apply(scripted(job.child("train/math"), COUNTS))
    for node, process in enumerate(followed):
        text, _ = process.communicate(timeout=120)
        assert process.returncode == 0, text
        printed = [each for each in text.splitlines() if each.startswith("line")]
        assert printed == [f"line {number} of node {node}" for number in (1, 2, 3, 4)]
    again = line.type("logs", *where, "--attempt", "1")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == "".join(f"line {number} of node 0\n" for number in (1, 2, 3, 4))
    missing = line.type("logs", *where, "--node", "2")
    assert (missing.returncode, missing.stderr) == (
        64,
        "error: --node: attempt 1 of train/math has no pod of node 2: use one of 0, 1\n",
    )


def test_the_log_of_a_stage_that_cannot_start_says_why(line: CommandLine, job: AppliedJob) -> None:
    job.advance("curate")
    child = job.child("curate/math")
    child["spec"]["template"]["spec"]["nodeSelector"] = {"no": "such-node"}
    job.kubectl.apply(child)
    job.kubectl.wait(
        "job", child["metadata"]["name"], lambda found: found["status"].get("active"), namespace=job.namespace
    )
    run = line.type("logs", "tiny", "curate/math", "-n", job.namespace)
    assert run.returncode == 1
    assert "error: attempt 1 of curate/math has not started: Unschedulable: 0/3 nodes are available" in run.stderr


@pytest.fixture
def reported(job: AppliedJob) -> AppliedJob:
    """The job is done; its report's pod has ended, and files lie in the volume."""
    job.advance("report")
    child = job.child("report")
    job.world.run()
    job.write()
    job.kubectl.apply(scripted(child, "true"))
    name = child["metadata"]["name"]
    job.kubectl.wait("job", name, lambda found: has_condition(found, "Complete"), namespace=job.namespace)
    return job


def write(job: AppliedJob, folder: Path, **files: str) -> None:
    """Write files of the report as its stage does."""
    fingerprint = next(stage["fingerprint"] for stage in job.body["status"]["stages"] if stage["name"] == "report")
    output = folder / "volume" / "tiny" / "stages" / "report" / fingerprint[:16]
    output.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (output / name.replace("_", ".")).write_text(content)


def pods(job: AppliedJob) -> list[Object]:
    return job.kubectl.find("pods", job.namespace, "app.kubernetes.io/managed-by=branchmerge-cli")


def test_the_report_comes_out_of_the_volume_as_it_is(line: CommandLine, reported: AppliedJob, tmp_path: Path) -> None:
    where = ("tiny", "-n", reported.namespace)
    missing = line.type("report", *where)
    assert missing.returncode == 1
    assert missing.stderr.endswith("/README.md: is not in the workspace: somebody has removed it\n")
    write(reported, tmp_path, README_md=CARD, report_html=PAGE)
    assert line.type("report", *where).stdout == f"{CARD}\n"
    assert line.type("report", *where, "--format", "html").stdout == f"{PAGE}\n"
    opened = line.type("report", *where, "--open", BROWSER="true", TMPDIR=str(tmp_path))
    assert opened.returncode == 0, opened.stderr
    page = Path(opened.stdout.strip())
    assert (page.parent, page.read_text()) == (tmp_path, PAGE)
    assert pods(reported) == []
    write(reported, tmp_path, report_json=" " * (9 << 20))
    large = line.type("report", *where, "--format", "json")
    assert (large.returncode, large.stdout) == (1, "")
    assert "/report.json: has more than 8 MiB: copy it from the volume" in large.stderr


def test_a_reader_without_a_node_says_why_it_waits_and_ctrl_c_removes_it(line: CommandLine, job: AppliedJob) -> None:
    job.advance("report")
    child = job.child("report")
    child["spec"]["template"]["spec"]["nodeSelector"] = {"no": "such-node"}
    job.kubectl.apply(child)
    job.world.run()
    job.write()
    run = line.begin("report", "tiny", "-n", job.namespace)
    assert run.stdout is not None
    assert "has not started: Unschedulable: 0/3 nodes are available" in run.stdout.readline()
    assert len(pods(job)) == 1
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=90)
    assert run.returncode == 130
    assert pods(job) == []


def test_a_reader_that_is_refused(line: CommandLine, reported: AppliedJob) -> None:
    reported.kubectl("create", "quota", "none", "-n", reported.namespace, "--hard=pods=0")
    run = line.type("report", "tiny", "-n", reported.namespace)
    assert run.returncode == 1
    assert "/README.md in PersistentVolumeClaim workspace: a pod that reads it was refused: " in run.stderr
    assert "exceeded quota" in run.stderr
