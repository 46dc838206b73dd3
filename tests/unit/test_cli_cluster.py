"""What commands for a cluster know without one: where a job is, what a pod says, how a file comes out of a log."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from branchmerge.api.errors import InputError
from branchmerge.api.stage import WORKSPACE_ENV
from branchmerge.api.status import StageProgress, StageState, StageStatus, Status
from branchmerge.cli.board import rows_of_status
from branchmerge.cli.place import RemoteJob, locate
from branchmerge.cli.remote.connection import JobObject, explained
from branchmerge.cli.remote.kubeconfig import Choice
from branchmerge.cli.remote.pods import exit_code, has_started, is_hopeless, pods_by_node, why_waiting
from branchmerge.cli.remote.reader import UnreadableError, printed_file, reader_pod, workspace_file
from branchmerge.cli.remote.suspension import settled
from branchmerge.kube.cluster import ClusterError
from builders import at
from jobfolder import make_folder

WITHOUT_CLIENT = """
import sys
sys.modules["kubernetes"] = None
import importlib.util as util
find = util.find_spec
util.find_spec = lambda name, package=None: None if name == "kubernetes" else find(name, package)
from branchmerge.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("job", "options", "found"),
    [
        pytest.param("tiny", {"cluster": True}, RemoteJob("tiny", None, None), id="a name, and --cluster"),
        pytest.param("tiny", {"context": "c"}, RemoteJob("tiny", None, "c"), id="--context implies a cluster"),
        pytest.param("tiny", {"namespace": "n"}, RemoteJob("tiny", "n", None), id="--namespace implies a cluster"),
        pytest.param("job.yaml", {}, Path("job.yaml"), id="a file, and nothing else"),
        pytest.param("none.yaml", {}, Path("none.yaml"), id="a missing file is for who opens it"),
        pytest.param("job.yaml", {"cluster": True}, RemoteJob("tiny", None, None), id="a file names a job"),
        pytest.param("./job.yaml", {"namespace": "n"}, RemoteJob("tiny", "n", None), id="a path names a job"),
    ],
)
def test_where_a_job_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str, options: dict[str, Any], found: Path | RemoteJob
) -> None:
    monkeypatch.chdir(make_folder(tmp_path).parent)
    assert locate(job, **{"cluster": False, "context": None, "namespace": None, **options}) == found


@pytest.mark.parametrize(
    ("job", "options", "said"),
    [
        pytest.param("tiny", {}, "tiny: no such file: .* or add --cluster", id="a name without a cluster"),
        pytest.param(
            "tiny", {"cluster": True, "workspace": Path("d")}, "--workspace: d: is of local", id="a local option"
        ),
        pytest.param("none.yaml", {"cluster": True}, "none.yaml: no such file", id="no such file"),
    ],
)
def test_where_no_job_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str, options: Any, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        locate(job, **{"cluster": False, "context": None, "namespace": None, **options})


def test_without_the_client_local_commands_work_and_others_name_the_extra(tmp_path: Path) -> None:
    make_folder(tmp_path)
    command = [sys.executable, "-c", WITHOUT_CLIENT]
    local = subprocess.run([*command, "status", "job.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (local.returncode, local.stderr) == (0, "")
    remote = subprocess.run(
        [*command, "status", "t", "-n", "n"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert remote.returncode == 64
    assert remote.stderr == (
        "error: --cluster: the Kubernetes client is not installed: pip install 'branchmerge[operator]'\n"
    )


def test_local_commands_load_no_kubernetes_client() -> None:
    code = "import sys, branchmerge.cli.main; sys.exit('kubernetes' in sys.modules or 'aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ), check=False).returncode == 0


@pytest.mark.parametrize(
    ("fields", "word", "time", "reason"),
    [
        pytest.param({"state": "Pending"}, "waiting", "", "", id="waits for its turn"),
        pytest.param({"state": "Suspended"}, "waiting", "", "", id="was suspended before it began"),
        pytest.param({"state": "Suspended", "attempts": 1}, "stopped", "", "", id="was suspended at work"),
        pytest.param({"state": "Running", "attempts": 1}, "starting", "2:00", "", id="has not come to a first step"),
        pytest.param(
            {"state": "Running", "attempts": 3, "failures": 1, "disruptions": 1, "progress": {"step": 3, "steps": 9}},
            "running",
            "2:00",
            "attempts so far: 1 failed, 1 disrupted",
            id="runs after attempts that were lost",
        ),
        pytest.param(
            {"state": "BackingOff", "attempts": 1, "failures": 1, "reason": "OOMKilled"},
            "waits to retry",
            "",
            "OOMKilled",
            id="waits to retry",
        ),
        pytest.param(
            {"state": "Succeeded", "attempts": 2, "failures": 1, "completion_time": at(60)},
            "done",
            "1:00",
            "",
            id="done",
        ),
        pytest.param({"state": "Succeeded", "completion_time": at(60)}, "done", "cached", "", id="was done before"),
    ],
)
def test_a_row_by_the_status_alone(fields: dict[str, Any], word: str, time: str, reason: str) -> None:
    progress = StageProgress(**fields.pop("progress")) if "progress" in fields else None
    state = StageState(fields.pop("state"))
    stage = StageStatus(name="train/math", state=state, start_time=at(0), progress=progress, **fields)
    (row,) = rows_of_status(Status(stages=[stage]), at(0) + timedelta(minutes=2))
    assert (row.word, row.time, row.reason) == (word, time, reason)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        pytest.param(0, "context c: the API server does not answer: boom: check the network", id="unreachable"),
        pytest.param(
            401, "context c: the API server does not know these credentials: log in again", id="not logged in"
        ),
        pytest.param(403, "boom: ask the cluster's administrator for this right", id="forbidden"),
        pytest.param(500, "context c: boom", id="anything else"),
    ],
)
def test_what_is_said_of_a_refusal(status: int, said: str) -> None:
    assert explained(ClusterError(status, "boom\n"), Choice("c", "n")).startswith(said)


def job_object(*, suspend: bool, generation: int, **status: Any) -> JobObject:
    known = {"observedGeneration": 2, **status}
    return JobObject(
        {"metadata": {"name": "t", "generation": generation}, "spec": {"suspend": suspend}, "status": known}
    )


def true(kind: str) -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": "R", "lastTransitionTime": at(0).isoformat()}


@pytest.mark.parametrize(
    ("job", "asked", "done"),
    [
        pytest.param(job_object(suspend=True, generation=2), True, False, id="stages still stop"),
        pytest.param(
            job_object(suspend=True, generation=2, conditions=[true("Suspended")]), True, True, id="suspended"
        ),
        pytest.param(
            job_object(suspend=True, generation=3, conditions=[true("Suspended")]), True, False, id="not seen"
        ),
        pytest.param(
            job_object(suspend=False, generation=2, conditions=[true("Suspended")]), False, False, id="resumes"
        ),
        pytest.param(job_object(suspend=False, generation=2), False, True, id="resumed"),
        pytest.param(job_object(suspend=True, generation=2, conditions=[true("Succeeded")]), True, True, id="ended"),
    ],
)
def test_when_a_wait_is_over(job: JobObject, asked: bool, done: bool) -> None:
    assert settled(job, suspended=asked) == done


def pod(name: str, owner: str, created: str, **labels: str) -> dict[str, Any]:
    labels = {f"training.kubeflow.org/replica-{key}": value for key, value in labels.items()}
    metadata = {"name": name, "creationTimestamp": created, "labels": labels, "ownerReferences": [{"name": owner}]}
    return {"metadata": metadata}


def test_pods_of_a_child_by_node() -> None:
    pods = [
        pod("ten", "child", "2", index="10"),
        pod("new", "child", "3", index="0"),
        pod("old", "child", "1", index="0"),
        pod("other", "another", "4", index="1"),
    ]
    found = pods_by_node(pods, "child")
    assert {node: each["metadata"]["name"] for node, each in found.items()} == {0: "new", 10: "ten"}


def test_the_pod_of_a_child_without_a_gang_is_node_0() -> None:
    assert list(pods_by_node([pod("only", "child", "1")], "child")) == [0]


def with_state(state: dict[str, Any] | None, **status: Any) -> dict[str, Any]:
    containers = [{"name": "sidecar", "state": {"running": {}}}]
    own = [] if state is None else [{"name": "stage", "state": state}]
    return {"status": {"containerStatuses": [*containers, *own], **status}}


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
PULL = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}


@pytest.mark.parametrize(
    ("state", "status", "started", "code", "hopeless", "why"),
    [
        pytest.param(None, {"phase": "Pending"}, False, None, False, "Pending", id="new"),
        pytest.param(
            None, {"conditions": [UNSCHEDULABLE]}, False, None, False, "Unschedulable: 0/3 nodes", id="no room"
        ),
        pytest.param(PULL, {}, False, None, True, "ImagePullBackOff: no such image", id="no image"),
        pytest.param({"running": {}}, {"phase": "Running"}, True, None, False, "Running", id="runs"),
        pytest.param({"terminated": {"exitCode": 3}}, {"phase": "Failed"}, True, 3, False, "Failed", id="ended"),
        pytest.param(
            None, {"phase": "Failed", "reason": "Evicted"}, False, -1, False, "Evicted", id="evicted before it started"
        ),
    ],
)
def test_what_a_pod_says(
    state: dict[str, Any] | None, status: dict[str, Any], started: bool, code: int | None, hopeless: bool, why: str
) -> None:
    found = with_state(state, **status)
    assert has_started(found, "stage") == started
    assert exit_code(found, "stage") == code
    assert is_hopeless(found, "stage") == hopeless
    assert why_waiting(found, "stage") == why


@pytest.mark.parametrize(
    ("log", "content"),
    [
        pytest.param(b"3\nabc", b"abc", id="as it is"),
        pytest.param(b"3\nabc\n", b"abc", id="the runtime ended the last line"),
        pytest.param(b"4\nabc\n", b"abc\n", id="the file ends its last line"),
        pytest.param(b"      3\nabc", b"abc", id="wc that indents"),
        pytest.param(b"0\n", b"", id="empty"),
        pytest.param("3\n±x\n".encode(), "±x".encode(), id="bytes are counted"),
    ],
)
def test_a_file_that_was_printed_as_a_whole(log: bytes, content: bytes) -> None:
    assert printed_file(log) == content


@pytest.mark.parametrize("log", [b"", b"sh: wc: not found\n", b"9\nabc", b"3\nabcd\n", b"-3\nabc"])
def test_a_file_that_was_not(log: bytes) -> None:
    with pytest.raises(UnreadableError):
        printed_file(log)


TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"batch.kubernetes.io/controller-uid": "u"}},
    "spec": {
        "nodeSelector": {"pool": "cpu"},
        "securityContext": {"runAsNonRoot": True},
        "initContainers": [{"name": "setup"}],
        "containers": [
            {"name": "sidecar", "image": "other"},
            {
                "name": "stage",
                "image": "trainer",
                "env": [{"name": WORKSPACE_ENV, "value": "/workspace/tiny"}, {"name": "KEY", "valueFrom": {}}],
                "resources": {"limits": {"nvidia.com/gpu": "8"}},
                "securityContext": {"readOnlyRootFilesystem": True},
                "volumeMounts": [
                    {"name": "root", "mountPath": "/"},
                    {"name": "workspace", "mountPath": "/workspace"},
                    {"name": "secret", "mountPath": "/workspace-secret"},
                ],
            },
        ],
        "volumes": [{"name": "root"}, {"name": "workspace"}, {"name": "secret"}],
    },
}


def test_the_pod_that_reads_has_what_it_takes_and_no_more() -> None:
    path = workspace_file(TEMPLATE, "stage", "stages/report/0/README.md")
    assert path == "/workspace/tiny/stages/report/0/README.md"
    made = reader_pod("reader", {"metadata": {"name": "tiny", "uid": "u"}}, TEMPLATE, "stage", path)
    metadata, spec = made["metadata"], made["spec"]
    assert not any("controller-uid" in label for label in metadata["labels"]), "the Job would adopt it"
    assert [owner["uid"] for owner in metadata["ownerReferences"]] == ["u"]
    assert (spec["nodeSelector"], spec["securityContext"]) == ({"pool": "cpu"}, {"runAsNonRoot": True})
    assert spec["volumes"] == [{"name": "workspace"}]
    assert "initContainers" not in spec
    (container,) = spec["containers"]
    assert container["volumeMounts"] == [{"name": "workspace", "mountPath": "/workspace", "readOnly": True}]
    assert (container["image"], container["securityContext"]) == ("trainer", {"readOnlyRootFilesystem": True})
    assert "env" not in container
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    assert container["command"][-1] == path
