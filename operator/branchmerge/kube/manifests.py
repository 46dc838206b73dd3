"""Stage and attempt -> the Kubernetes object that executes it. Pure."""

from __future__ import annotations

from typing import Protocol

from branchmerge.api.resource import API_VERSION, KIND, DistillationJob
from branchmerge.api.stage import StageKind
from branchmerge.core.model import Start
from branchmerge.core.naming import child_name
from branchmerge.kube.labels import (
    ATTEMPT_ANNOTATION,
    FINGERPRINT_ANNOTATION,
    GPUS_ANNOTATION,
    JOB_LABEL,
    KIND_LABEL,
    QUEUE_LABEL,
    STAGE_ANNOTATION,
)
from branchmerge.kube.pods import Manifest, pod_template
from branchmerge.kube.settings import OperatorSettings, Pool


class ChildKind(Protocol):
    """A kind of object that can execute an attempt."""

    api_version: str
    kind: str
    plural: str
    container: str
    """Name that the kind's controller expects of the container."""

    def spec(self, template: Manifest, nodes: int, ranks_per_node: int) -> Manifest:
        """The object's spec for a pod template."""
        ...


class BatchJob:
    """`batch/v1` Job: one pod, one try."""

    api_version = "batch/v1"
    kind = "Job"
    plural = "jobs"
    container = "stage"

    def spec(self, template: Manifest, nodes: int, ranks_per_node: int) -> Manifest:
        """One pod that is never replaced: attempts are ours."""
        assert nodes == 1, "only training takes several nodes"
        return {"completions": 1, "parallelism": 1, "backoffLimit": 0, "template": template}


class PyTorchJob:
    """Kubeflow's `PyTorchJob`: a Master, and Workers where there are several nodes.

    There is no `backoffLimit`: with one, the training operator deletes the failed pods, and with them exit code,
    termination message and log. With restartPolicy Never the gang fails as a whole, and our attempts restart it.
    """

    api_version = "kubeflow.org/v1"
    kind = "PyTorchJob"
    plural = "pytorchjobs"
    container = "pytorch"

    def spec(self, template: Manifest, nodes: int, ranks_per_node: int) -> Manifest:
        """A gang of `nodes` pods; torchrun's variables come from the training operator."""
        replicas = {"Master": {"replicas": 1, "restartPolicy": "Never", "template": template}}
        if nodes > 1:
            replicas["Worker"] = {"replicas": nodes - 1, "restartPolicy": "Never", "template": template}
        return {
            "nprocPerNode": str(ranks_per_node),
            "runPolicy": {"cleanPodPolicy": "Running"},
            "pytorchReplicaSpecs": replicas,
        }


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
    labels = {
        JOB_LABEL: job.metadata.name,
        KIND_LABEL: stage.kind.value,
        "app.kubernetes.io/managed-by": "branchmerge",
    }
    template = pod_template(action, job, pool, settings, container=kind.container, labels=labels)
    metadata: Manifest = {
        "name": child_name(job.metadata.name, stage.name, config.fingerprint, config.attempt),
        "namespace": job.metadata.namespace,
        "labels": labels | ({QUEUE_LABEL: pool.queue} if pool.queue else {}),
        "annotations": {
            STAGE_ANNOTATION: stage.name,
            FINGERPRINT_ANNOTATION: config.fingerprint,
            ATTEMPT_ANNOTATION: str(config.attempt),
            GPUS_ANNOTATION: str(stage.resources.gpus),
        },
        "ownerReferences": [_owner(job)],
    }
    spec = kind.spec(template, stage.resources.nodes, stage.resources.ranks_per_node)
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}


def pool_of(name: str | None, settings: OperatorSettings) -> Pool:
    """The pool of that name, or the default one. An accepted job names pools that exist."""
    return settings.default_pool if name is None else settings.pools[name]


def _owner(job: DistillationJob) -> Manifest:
    assert job.metadata.uid is not None, "an object of the API server has a uid"
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
