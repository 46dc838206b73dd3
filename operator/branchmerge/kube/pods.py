"""The pod of a stage: restricted Pod Security, the workspace, what the spec's podTemplate adds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from branchmerge.api.compute import Resources
from branchmerge.api.objects import SecretKeyRef
from branchmerge.api.resource import DistillationJob
from branchmerge.api.stage import WORKSPACE_ENV
from branchmerge.core.threads import thread_environment
from branchmerge.kube.settings import OperatorSettings, Pool

WORKSPACE_MOUNT = "/workspace"
_TOKEN_FOLDER = "/var/run/secrets/branchmerge.dev"  # noqa: S105 - a folder, no secret
_TOKEN_SECONDS = 3600
PROGRESS_AUDIENCE = "branchmerge.dev/progress"
GRACE_SECONDS = 30

_FACTORS = {"m": 1e-3, "k": 1e3, "Ki": 2.0**10}
"""Suffix of a quantity -> factor; nothing has a million cores."""

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """What the container of a pod runs, and what that takes."""

    container: str
    """Name of the container."""
    command: Sequence[str]
    resources: Resources
    environment: Mapping[str, str]
    """Variables besides those that every pod has."""
    keys: Mapping[str, SecretKeyRef] = field(default_factory=dict)
    """Variables whose values are in Secrets, which nobody but the kubelet reads."""
    grace_seconds: int = GRACE_SECONDS
    """Time between SIGTERM and SIGKILL."""
    progress_url: str | None = None
    """Where it reports its progress. None: nowhere."""


def pod_template(
    work: Work, job: DistillationJob, pool: Pool, settings: OperatorSettings, labels: Mapping[str, str]
) -> Manifest:
    """The template of a pod that does one node's share of the work. What the operator sets, no podTemplate changes."""
    extra = job.spec.pod_template
    metadata = {"labels": {**extra.labels, **labels}, "annotations": extra.annotations}
    spec: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": work.grace_seconds,
        "serviceAccountName": extra.service_account_name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": settings.run_as_user,
            "fsGroup": settings.fs_group,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": pool.node_selector,
        "tolerations": pool.tolerations,
        "priorityClassName": extra.priority_class_name,
        "schedulerName": extra.scheduler_name,
        "imagePullSecrets": _pull_secrets(job, settings),
        "runtimeClassName": pool.runtime_class,
        "containers": [_container(work, job, pool, settings)],
        "volumes": _volumes(work, job, settings),
    }
    return {"metadata": _given(metadata), "spec": _given(spec)}


def workspace_root(job: DistillationJob) -> str:
    """The workspace's folder as a pod sees it."""
    return f"{WORKSPACE_MOUNT}/{(job.spec.workspace.path or job.metadata.name).strip('/')}"


def _container(work: Work, job: DistillationJob, pool: Pool, settings: OperatorSettings) -> Manifest:
    return {
        "name": work.container,
        "image": settings.trainer_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": list(work.command),
        "env": _environment(work, job, pool),
        "resources": _container_resources(work.resources, pool),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "File",
        "volumeMounts": _mounts(work, job),
    }


def _environment(work: Work, job: DistillationJob, pool: Pool) -> list[Manifest]:
    """One entry a name. The spec may set HOME, HF_HOME and threads anew; names that are the operator's it cannot hold.

    Ranks share the cores that their pod requests: what a node has besides may be somebody else's.
    """
    environment = {
        **work.environment,
        **thread_environment(cores_of(work.resources.cpu or pool.cpu), work.resources.ranks_per_node),
        WORKSPACE_ENV: workspace_root(job),
        "HOME": "/tmp",  # noqa: S108 - an emptyDir of the pod; the root file system is read-only
        "HF_HOME": "/tmp/huggingface",  # noqa: S108
    }
    if work.progress_url:
        environment["KUBEFLOW_TRAINER_SERVER_URL"] = work.progress_url
        environment["KUBEFLOW_TRAINER_SERVER_TOKEN"] = f"{_TOKEN_FOLDER}/token"
    by_name = {name: {"name": name, "value": value} for name, value in environment.items()}
    keys = {name: {"name": name, "valueFrom": {"secretKeyRef": _plain(key)}} for name, key in work.keys.items()}
    return [*(by_name | keys | {each.name: _plain(each) for each in job.spec.pod_template.env}).values()]


def cores_of(quantity: str) -> float:
    """A quantity of CPU as a number of cores: `2`, `1.5` or, in thousandths, `1500m`."""
    number = quantity.rstrip("".join(_FACTORS))
    return float(number) * _FACTORS.get(quantity[len(number) :], 1.0)


def _container_resources(resources: Resources, pool: Pool) -> Manifest:
    """Memory and accelerators are requested as they are limited: neither can be lent."""
    memory = resources.memory or pool.memory
    limits = {"memory": memory}
    if resources.gpus_per_node:
        limits[pool.resource_name] = str(resources.gpus_per_node)
    return {"requests": {"cpu": resources.cpu or pool.cpu, **limits}, "limits": limits}


def _volumes(work: Work, job: DistillationJob, settings: OperatorSettings) -> list[Manifest]:
    claim = job.spec.workspace.persistent_volume_claim
    assert claim is not None, "an accepted job names a claim"
    volumes: list[Manifest] = [
        {"name": "workspace", "persistentVolumeClaim": {"claimName": claim.claim_name}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": settings.shared_memory}},
    ]
    if work.progress_url:
        token = {"path": "token", "audience": PROGRESS_AUDIENCE, "expirationSeconds": _TOKEN_SECONDS}
        volumes.append({"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}})
    return volumes + [_plain(volume) for volume in job.spec.pod_template.volumes]


def _mounts(work: Work, job: DistillationJob) -> list[Manifest]:
    mounts: list[Manifest] = [
        {"name": "workspace", "mountPath": WORKSPACE_MOUNT},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
    ]
    if work.progress_url:
        mounts.append({"name": "token", "mountPath": _TOKEN_FOLDER, "readOnly": True})
    return mounts + [_plain(mount) for mount in job.spec.pod_template.volume_mounts]


def _pull_secrets(job: DistillationJob, settings: OperatorSettings) -> list[Manifest]:
    """The administrator's, then the job's; each once."""
    names = [*settings.image_pull_secrets, *(secret.name for secret in job.spec.pod_template.image_pull_secrets)]
    return [{"name": name} for name in dict.fromkeys(names)]


def _plain(part: BaseModel) -> Manifest:
    """A part of the spec as Kubernetes writes it; what is not set keeps Kubernetes' default, which is ours too."""
    return part.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _given(fields: Mapping[str, Any]) -> Manifest:
    """The fields that are set."""
    return {key: value for key, value in fields.items() if value or value is False}
