"""The pod of a stage: restricted Pod Security, the workspace, the orders. Pure."""

from __future__ import annotations

from typing import Any

from branchmerge.api.compute import Resources
from branchmerge.api.resource import DistillationJob
from branchmerge.api.stage import STAGE_ENV, WORKSPACE_ENV, TrainTask
from branchmerge.core.model import Start
from branchmerge.kube.settings import OperatorSettings, Pool

WORKSPACE_MOUNT = "/workspace"
_TOKEN_FOLDER = "/var/run/secrets/branchmerge.dev"  # noqa: S105 - a folder, no secret
_TOKEN_SECONDS = 3600
PROGRESS_AUDIENCE = "branchmerge.dev/progress"
_SHORT_GRACE_SECONDS = 30

Manifest = dict[str, Any]


def pod_template(
    action: Start, job: DistillationJob, pool: Pool, settings: OperatorSettings, *, container: str, labels: Manifest
) -> Manifest:
    """The template of every pod of the attempt; each is one node of the stage."""
    training = action.config.task.training if isinstance(action.config.task, TrainTask) else None
    grace = training.checkpoint.grace_period_seconds if training else _SHORT_GRACE_SECONDS
    spec: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": grace,
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
        "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
        "runtimeClassName": pool.runtime_class,
        "containers": [_container(action, job, pool, settings, container)],
        "volumes": _volumes(job, settings),
    }
    return {
        "metadata": {"labels": labels},
        "spec": {key: value for key, value in spec.items() if value or value is False},
    }


def _container(action: Start, job: DistillationJob, pool: Pool, settings: OperatorSettings, name: str) -> Manifest:
    return {
        "name": name,
        "image": settings.trainer_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "branchmerge_trainer"],
        "env": _environment(action, job, settings),
        "resources": _container_resources(action.stage.resources, pool),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "File",
        "volumeMounts": _mounts(settings),
    }


def workspace_root(job: DistillationJob) -> str:
    """The workspace's folder as a pod sees it."""
    return f"{WORKSPACE_MOUNT}/{(job.spec.workspace.path or job.metadata.name).strip('/')}"


def _environment(action: Start, job: DistillationJob, settings: OperatorSettings) -> list[Manifest]:
    environment = {
        STAGE_ENV: action.config.to_json(),
        WORKSPACE_ENV: workspace_root(job),
        "HOME": "/tmp",  # noqa: S108 - an emptyDir of the pod; the root file system is read-only
        "HF_HOME": "/tmp/huggingface",  # noqa: S108
    }
    if settings.progress_url:
        environment["KUBEFLOW_TRAINER_SERVER_URL"] = settings.progress_url
        environment["KUBEFLOW_TRAINER_SERVER_TOKEN"] = f"{_TOKEN_FOLDER}/token"
    return [{"name": name, "value": value} for name, value in environment.items()]


def _container_resources(resources: Resources, pool: Pool) -> Manifest:
    memory = resources.memory or pool.memory
    limits = {"memory": memory}
    if resources.gpus_per_node:
        limits[pool.resource_name] = str(resources.gpus_per_node)
    return {"requests": {"cpu": resources.cpu or pool.cpu, **limits}, "limits": limits}


def _volumes(job: DistillationJob, settings: OperatorSettings) -> list[Manifest]:
    claim = job.spec.workspace.persistent_volume_claim
    assert claim is not None, "an accepted job names a claim"
    volumes: list[Manifest] = [
        {"name": "workspace", "persistentVolumeClaim": {"claimName": claim.claim_name}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": settings.shared_memory}},
    ]
    if settings.progress_url:
        token = {"path": "token", "audience": PROGRESS_AUDIENCE, "expirationSeconds": _TOKEN_SECONDS}
        volumes.append({"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}})
    return volumes


def _mounts(settings: OperatorSettings) -> list[Manifest]:
    mounts: list[Manifest] = [
        {"name": "workspace", "mountPath": WORKSPACE_MOUNT},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
    ]
    if settings.progress_url:
        mounts.append({"name": "token", "mountPath": _TOKEN_FOLDER, "readOnly": True})
    return mounts
