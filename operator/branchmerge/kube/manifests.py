"""Stage and attempt -> the Kubernetes object that executes it. Pure."""

from __future__ import annotations

from typing import Protocol

from branchmerge.api.resource import API_VERSION, KIND, DistillationJob
from branchmerge.api.stage import STAGE_ENV, StageKind, TrainTask
from branchmerge.core.keys import keys_of
from branchmerge.core.model import Start
from branchmerge.core.naming import child_name
from branchmerge.kube.labels import (
    ATTEMPT_ANNOTATION,
    FINGERPRINT_ANNOTATION,
    GPUS_ANNOTATION,
    JOB_LABEL,
    KIND_LABEL,
    MANAGED_BY_LABEL,
    MANAGER,
    PRIORITY_LABEL,
    QUEUE_LABEL,
    REPLICA_INDEX_LABEL,
    STAGE_ANNOTATION,
)
from branchmerge.kube.pods import GRACE_SECONDS, Manifest, Work, pod_template
from branchmerge.kube.settings import OperatorSettings, Pool

_GANG_PORT = 23456
"""The training operator's default; each pod has a Service of its name with it."""


class ChildKind(Protocol):
    """A kind of object that can execute an attempt."""

    api_version: str
    kind: str
    plural: str
    container: str
    """Name that the kind's controller expects of the container."""

    def spec(self, name: str, template: Manifest, nodes: int, ranks_per_node: int) -> Manifest:
        """The spec of the object of that name for a pod template."""
        ...


class BatchJob:
    """`batch/v1` Job: one pod, one try."""

    api_version = "batch/v1"
    kind = "Job"
    plural = "jobs"
    container = "stage"

    def spec(self, name: str, template: Manifest, nodes: int, ranks_per_node: int) -> Manifest:
        """One pod that is never replaced: attempts are ours."""
        assert nodes == 1, "only training takes several nodes"
        return {"completions": 1, "parallelism": 1, "backoffLimit": 0, "template": template}


class PyTorchJob:
    """Kubeflow's `PyTorchJob`, of Workers alone.

    With a Master the training operator would give each Worker an init container of its own making, which pulls an image
    from Docker Hub and is not admitted under the *restricted* Pod Security Standard. Without one it leaves rank and
    address of the nodes to us; Worker 0 is node 0.

    There is no `backoffLimit`: with one, the training operator deletes the failed pods, and with them exit code,
    termination message and log. With restartPolicy Never the gang fails as a whole, and our attempts restart it.
    """

    api_version = "kubeflow.org/v1"
    kind = "PyTorchJob"
    plural = "pytorchjobs"
    container = "pytorch"

    def spec(self, name: str, template: Manifest, nodes: int, ranks_per_node: int) -> Manifest:
        """A gang of `nodes` pods; what torchrun must know besides comes from the training operator."""
        worker = {"replicas": nodes, "restartPolicy": "Never", "template": _placed(template, f"{name}-worker-0")}
        return {
            "nprocPerNode": str(ranks_per_node),
            "runPolicy": {"cleanPodPolicy": "Running"},
            "pytorchReplicaSpecs": {"Worker": worker},
        }


def _placed(template: Manifest, first: str) -> Manifest:
    """The template, its container told which node it is and where the first one listens."""
    rank = {"fieldRef": {"fieldPath": f"metadata.labels['{REPLICA_INDEX_LABEL}']"}}
    place: list[Manifest] = [
        {"name": "PET_NODE_RANK", "valueFrom": rank},
        {"name": "PET_MASTER_ADDR", "value": first},
        {"name": "PET_MASTER_PORT", "value": str(_GANG_PORT)},
    ]
    container, *others = template["spec"]["containers"]
    containers = [{**container, "env": [*container["env"], *place]}, *others]
    # The replicas' restartPolicy holds; that of a pod brings a warning at each reconciliation.
    spec = {key: value for key, value in template["spec"].items() if key != "restartPolicy"}
    return {**template, "spec": {**spec, "containers": containers}}


BATCH_JOB = BatchJob()
PYTORCH_JOB = PyTorchJob()
CHILD_KINDS: tuple[ChildKind, ...] = (BATCH_JOB, PYTORCH_JOB)


def child_kind(kind: StageKind) -> ChildKind:
    """What executes stages of this kind."""
    return PYTORCH_JOB if kind is StageKind.TRAIN else BATCH_JOB


def child_manifest(action: Start, job: DistillationJob, settings: OperatorSettings) -> Manifest:
    """The child of an attempt. Its name is the attempt's, so that creating it twice is a conflict, not a duplicate."""
    stage, config = action.stage, action.config
    kind = child_kind(stage.kind)
    pool = pool_of(stage.resources.pool, settings)
    labels = labels_of(job, stage.kind.value)
    template = pod_template(_work(action, kind, settings), job, pool, settings, labels)
    metadata: Manifest = {
        "name": child_name(job.metadata.name, stage.name, config.fingerprint, config.attempt),
        "namespace": job.metadata.namespace,
        "labels": labels | _queueing(job, pool),
        "annotations": {
            STAGE_ANNOTATION: stage.name,
            FINGERPRINT_ANNOTATION: config.fingerprint,
            ATTEMPT_ANNOTATION: str(config.attempt),
            GPUS_ANNOTATION: str(stage.resources.gpus),
        },
        "ownerReferences": [owner_reference(job)],
    }
    spec = kind.spec(metadata["name"], template, stage.resources.nodes, stage.resources.ranks_per_node)
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


def labels_of(job: DistillationJob, kind: str) -> dict[str, str]:
    """What every child of the job, and each of its pods, is found by. `kind`: what it does."""
    return {JOB_LABEL: job.metadata.name, KIND_LABEL: kind, MANAGED_BY_LABEL: MANAGER}


def _work(action: Start, kind: ChildKind, settings: OperatorSettings) -> Work:
    """What each pod of the attempt does."""
    training = action.config.task.training if isinstance(action.config.task, TrainTask) else None
    return Work(
        container=kind.container,
        command=("python", "-m", "branchmerge_trainer"),
        resources=action.stage.resources,
        environment={STAGE_ENV: action.config.to_json()},
        keys=keys_of(action.config.task),
        grace_seconds=training.checkpoint.grace_period_seconds if training else GRACE_SECONDS,
        progress_url=settings.progress_url,
    )


def _queueing(job: DistillationJob, pool: Pool) -> dict[str, str]:
    """Kueue's labels: those that the job itself carries, as everything that is queued does; else the pool's queue."""
    own = job.metadata.labels or {}
    labels = {QUEUE_LABEL: own.get(QUEUE_LABEL, pool.queue), PRIORITY_LABEL: own.get(PRIORITY_LABEL)}
    return {key: value for key, value in labels.items() if value}


def pool_of(name: str | None, settings: OperatorSettings) -> Pool:
    """The pool of that name, or the default one. An accepted job names pools that exist."""
    return settings.default_pool if name is None else settings.pools[name]


def owner_reference(job: DistillationJob) -> Manifest:
    """What has the API server's garbage collector delete an object once the job is gone."""
    assert job.metadata.uid is not None, "an object of the API server has a uid"
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
