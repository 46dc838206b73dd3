"""The Job that removes what a job wrote into its workspace. Pure."""

from __future__ import annotations

from branchmerge.api.compute import Resources
from branchmerge.api.resource import DistillationJob
from branchmerge.api.stage import JOB_ENV
from branchmerge.core.naming import child_name
from branchmerge.kube.manifests import BATCH_JOB, labels_of, owner_reference
from branchmerge.kube.pods import Manifest, Work, pod_template
from branchmerge.kube.retention import CLEANUP_SECONDS
from branchmerge.kube.settings import OperatorSettings

CLEANUP = "cleanup"
_RETRIES = 2
_RESOURCES = Resources(cpu="100m", memory="256Mi")


def cleanup_name(job: str, uid: str) -> str:
    """Name of the clean-up of one job: never that of a job of the same name that comes later."""
    return child_name(job, CLEANUP, uid, 1)


def cleanup_manifest(job: DistillationJob, settings: OperatorSettings) -> Manifest:
    """A Job whose pod sees the workspace as a stage does, and nothing else of what the job uses: that may be gone."""
    assert job.metadata.uid is not None, "an object of the API server has a uid"
    labels = labels_of(job, CLEANUP)
    work = Work(
        container=BATCH_JOB.container,
        command=("python", "-m", "branchmerge_trainer.cleanup"),
        resources=_RESOURCES,
        environment={JOB_ENV: job.metadata.name},
    )
    template = pod_template(work, _bare(job), settings.default_pool, settings, labels)
    return {
        "apiVersion": BATCH_JOB.api_version,
        "kind": BATCH_JOB.kind,
        "metadata": {
            "name": cleanup_name(job.metadata.name, job.metadata.uid),
            "namespace": job.metadata.namespace,
            "labels": labels,
            "ownerReferences": [owner_reference(job)],
        },
        "spec": {"backoffLimit": _RETRIES, "activeDeadlineSeconds": CLEANUP_SECONDS, "template": template},
    }


def _bare(job: DistillationJob) -> DistillationJob:
    """The job without variables, volumes and mounts of its pods."""
    template = job.spec.pod_template.model_copy(update={"env": [], "volumes": [], "volume_mounts": []})
    return job.model_copy(update={"spec": job.spec.model_copy(update={"pod_template": template})})
