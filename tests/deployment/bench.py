"""An operator that watches one namespace, and jobs in it whose stages compute nothing."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from branchmerge.kube.labels import JOB_LABEL
from deployment.images import QUICK_TRAINER, operator_image, quick_trainer_image
from deployment.release import Release
from deployment.workspace import CLAIM, job_namespace
from localcluster.cluster import Cluster
from localcluster.kubectl import Kubectl
from localcluster.reading import Object
from localcluster.topology import GPU_RESOURCE, POOL_LABEL
from localcluster.waiting import until

LEASE_SECONDS = 12
EVENTS_SECONDS = 1
SMALL = {"cpu": "10m", "memory": "64Mi"}
ON_GPU_NODES = {"tolerations": [{"key": GPU_RESOURCE, "operator": "Exists"}]}
Quick = Mapping[str, Mapping[str, Any]]
"""What stages do, by name; see quick_trainer.py."""
Status = dict[str, Any]


def values(namespace: str, image: str = QUICK_TRAINER) -> dict[str, Any]:
    """Values of a release that watches one namespace and runs an image of little needs."""
    repository, _, tag = image.rpartition(":")
    gpu_a, gpu_b = ({"nodeSelector": {POOL_LABEL: name}, **ON_GPU_NODES, **SMALL} for name in ("gpu-a", "gpu-b"))
    cpu = {"nodeSelector": {POOL_LABEL: "cpu"}, **SMALL}
    return {
        "watchNamespace": namespace,
        "releaseJobsOnUninstall": False,  # seconds for each
        "trainer": {"image": {"repository": repository, "tag": tag}, "sharedMemory": "16Mi"},
        "pools": {"gpu-a": gpu_a, "gpu-b": gpu_b, "gpu": {**ON_GPU_NODES, **SMALL}, "cpu": cpu},
        "defaultPool": cpu,
        "leaderElection": {"leaseSeconds": LEASE_SECONDS, "renewSeconds": 2},
        "resources": {"requests": {"cpu": "10m", "memory": "128Mi"}},
    }


def quick_job(name: str, quick: Quick | None = None, **spec: Any) -> Object:
    """A job of two branches, one merge and an evaluation, with parts of its spec replaced."""
    return {
        "apiVersion": "branchmerge.dev/v1alpha1",
        "kind": "DistillationJob",
        "metadata": {"name": name},
        "spec": {
            "student": {"model": "student"},
            "training": {"globalBatchSize": 8, "checkpoint": {"gracePeriodSeconds": 20}},
            "branches": [
                {"name": branch, "data": {"sources": [{"path": f"{branch}.jsonl"}]}} for branch in ("math", "coding")
            ],
            "merge": {"recipe": [{"name": "final", "method": "linear", "models": ["math", "coding"]}]},
            "evaluation": {
                "models": ["student", "merged"],
                "suites": [{"name": "house", "path": "house.jsonl", "method": "exact"}],
            },
            "retry": {"backoffSeconds": 1},
            "workspace": {"persistentVolumeClaim": {"claimName": CLAIM}},
            "podTemplate": {"env": [{"name": "QUICK", "value": json.dumps(quick or {})}]},
            **spec,
        },
    }


@dataclass(frozen=True)
class Bench:
    """A namespace with an operator of its own.

    Attributes:
        kubectl: as the cluster's administrator.
        namespace: of the operator and its jobs.
        folder: of this machine, which is the workspace.
        release: the operator.
    """

    kubectl: Kubectl
    namespace: str
    folder: Path
    release: Release

    def apply(self, job: Object) -> None:
        """Apply a job."""
        self.kubectl("apply", "-n", self.namespace, "-f", "-", stdin=json.dumps(job))

    def patch(self, name: str, **spec: Any) -> None:
        """Change parts of a job's spec."""
        patch = json.dumps({"spec": spec})
        self.kubectl("patch", "distillationjob", name, "-n", self.namespace, "--type=merge", "--patch", patch)

    def delete(self, name: str) -> None:
        """Delete a job, and wait until it is gone."""
        self.kubectl("delete", "distillationjob", name, "-n", self.namespace, "--timeout=60s")

    def clear(self) -> None:
        """Have no job, no pod of one, and nothing that they wrote."""
        self.kubectl("delete", "distillationjobs", "--all", "-n", self.namespace, "--timeout=60s")
        until("the jobs' pods to go", lambda: not self.kubectl.find("pods", self.namespace, JOB_LABEL), timeout=90)
        for written in self.folder.iterdir():
            shutil.rmtree(written, ignore_errors=True)

    def status(self, name: str) -> Status:
        """A job's status; empty before there is one."""
        status: Status = self.kubectl.get("distillationjob", name, self.namespace).get("status", {})
        return status

    def stage(self, name: str, stage: str) -> Status:
        """A stage's entry in a job's status; empty before there is one."""
        return next((each for each in self.status(name).get("stages", []) if each["name"] == stage), {})

    def wait(self, name: str, good: Callable[[Status], bool], *, timeout: float = 90) -> Status:
        """Wait until a job's status is good, and return it; `timeout` in seconds."""
        found = self.kubectl.wait(
            "distillationjob",
            name,
            lambda job: good(job.get("status", {})),
            namespace=self.namespace,
            timeout=timeout,
        )
        status: Status = found["status"]
        return status

    def wait_phase(self, name: str, phase: str, *, timeout: float = 90) -> Status:
        """Wait until a job is in a phase, and return its status; another end is an error at once."""

        def there(status: Status) -> bool:
            now = status.get("phase")
            assert now == phase or now not in {"Succeeded", "Failed"}, status["conditions"]
            return now == phase

        return self.wait(name, there, timeout=timeout)

    def wait_phase_after_edit(self, name: str, phase: str, *, timeout: float = 90) -> Status:
        """Wait until the operator has seen the newest spec of a job and that job is in a phase; return its status."""
        generation = self.kubectl.get("distillationjob", name, self.namespace)["metadata"]["generation"]
        self.wait(name, lambda status: status.get("observedGeneration") == generation, timeout=timeout)
        return self.wait_phase(name, phase, timeout=timeout)

    def wait_stage(self, name: str, stage: str, state: str, *, timeout: float = 60) -> Status:
        """Wait until a stage is in a state, and return its entry."""

        def there() -> Status | None:
            found = self.stage(name, stage)
            return found if found.get("state") == state else None

        found = until(f"{stage} of {name} to be {state}", there, timeout=timeout, interval=0.2)
        assert found is not None
        return found

    def wait_reason(self, name: str, stage: str, *words: str, timeout: float = 60) -> Status:
        """Wait until a stage says why it stands where it stands in these words, and return its entry."""

        def there() -> Status | None:
            found = self.stage(name, stage)
            return found if all(word in found.get("reason", "") for word in words) else None

        found = until(f"{stage} of {name} to say {words}", there, timeout=timeout, interval=0.2)
        assert found is not None
        return found

    def wait_steps(self, stage: str, count: int, *, job: str = "", timeout: float = 60) -> None:
        """Wait until attempts of a stage have done that many steps in all; of every job, or of one."""
        until(f"{count} steps of {stage}", lambda: len(self.steps(stage, job)) >= count, timeout=timeout, interval=0.1)

    def steps(self, stage: str, job: str = "") -> list[int]:
        """The steps that attempts of a stage have done, in their order; of every job, or of one."""
        lines = [line for log in self.folder.glob(f"{job or '*'}/steps.log") for line in log.read_text().splitlines()]
        return [int(step) for name, step in map(str.split, lines) if name == stage]

    def children(self, name: str) -> list[Object]:
        """The objects that execute a job's attempts, oldest first."""
        found = self.kubectl.find("jobs,pytorchjobs", self.namespace, f"{JOB_LABEL}={name}")
        return sorted(found, key=lambda child: str(child["metadata"]["creationTimestamp"]))

    def assert_each_stage_ran_once(self, name: str) -> None:
        """One child a stage, and each of its two steps done once: none lost, none doubled."""
        children = [child["metadata"]["annotations"]["branchmerge.dev/stage"] for child in self.children(name)]
        stages = self.status(name)["stages"]
        assert Counter(children) == {stage["name"]: 1 for stage in stages}
        assert {stage["attempts"] for stage in stages} == {1}
        assert {stage: self.steps(stage, name) for stage in children} == {stage: [1, 2] for stage in children}

    def pods(self, name: str) -> list[Object]:
        """The pods of a job's attempts."""
        return self.kubectl.find("pods", self.namespace, f"{JOB_LABEL}={name}")

    def pods_of(self, name: str, stage: str) -> list[Object]:
        """The pods of a stage's newest attempt, in the order of their nodes."""
        child = self.stage(name, stage).get("child", {}).get("name")
        found = [pod for pod in self.pods(name) if pod["metadata"]["ownerReferences"][0]["name"] == child]
        return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))

    def wait_free(self, name: str, *, timeout: float = 10) -> None:
        """Wait until no pod of a job holds anything of a node any more."""
        ended = {"Succeeded", "Failed"}
        until(
            f"the pods of {name} to end",
            lambda: all(pod["status"]["phase"] in ended for pod in self.pods(name)),
            timeout=timeout,
        )

    def events(self, name: str) -> list[tuple[str, str]]:
        """(reason, note) of a job's events, oldest first; they follow the status that they tell of within a moment."""
        told = self._events(name)
        while True:
            time.sleep(EVENTS_SECONDS)
            if told == (told := self._events(name)):
                return told

    def _events(self, name: str) -> list[tuple[str, str]]:
        found = self.kubectl.find("events.events.k8s.io", self.namespace)
        ours = [each for each in found if each["regarding"].get("name") == name]
        return [(each["reason"], each["note"]) for each in sorted(ours, key=lambda each: str(each["eventTime"]))]

    def scale(self, replicas: int) -> None:
        """Have so many replicas of the operator; return when those too many are gone."""
        self.kubectl("scale", f"deployment/{self.release.deployment}", "-n", self.namespace, f"--replicas={replicas}")
        until(f"{replicas} replicas", lambda: len(self._operators()) <= replicas, timeout=60)

    def operator_pods(self) -> list[str]:
        """Names of the operator's pods that are not being deleted."""
        return [pod["metadata"]["name"] for pod in self._operators() if "deletionTimestamp" not in pod["metadata"]]

    def leader(self) -> str:
        """The replica that holds the lease; empty where none does."""
        lease = self.kubectl.get("lease", self.release.deployment, self.namespace)
        return str(lease["spec"].get("holderIdentity") or "")

    def _operators(self) -> list[Object]:
        return self.kubectl.find("pods", self.namespace, "app.kubernetes.io/component=operator")


def load_quick_images(cluster: Cluster) -> None:
    """Have the operator on the node without GPUs, and the trainer that computes nothing on every node."""
    cluster.load(operator_image(), nodes=["cpu"])
    cluster.load(quick_trainer_image())


@contextmanager
def operated(
    admin: Kubectl, prefix: str, folder: Path, values_of: Callable[[str], Mapping[str, Any]] = values
) -> Iterator[Bench]:
    """A new namespace whose name begins with `prefix`, a workspace in `folder`, and an operator that watches it.

    Args:
        admin: the cluster's administrator.
        prefix: of the namespace's name.
        folder: of this machine, which becomes the workspace.
        values_of: namespace -> values of the release.
    """
    name = f"{prefix}-{uuid4().hex[:8]}"
    release = Release(admin, namespace=name, name=name)
    with job_namespace(admin, name, folder):
        release.install(values_of(name))
        yield Bench(admin, name, folder, release)
        release.uninstall()
