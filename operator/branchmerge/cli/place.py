"""Where the job is that a command names: in a folder of this machine, or on a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from branchmerge.api.errors import InputError
from branchmerge.local.jobfile import load_job

_FILE_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_EXTRA = "operator"


@dataclass(frozen=True, slots=True)
class RemoteJob:
    """A job on a cluster. What is None is told by the kubeconfig."""

    name: str
    namespace: str | None
    context: str | None


def locate(
    job: str, *, cluster: bool, context: str | None, namespace: str | None, workspace: Path | None = None
) -> Path | RemoteJob:
    """The job's file, or the job on the cluster where the command line says that it is on one. Raises InputError."""
    if not cluster and context is None and namespace is None:
        return _local(job)
    if workspace is not None:
        raise InputError(f"--workspace: {workspace}: is of local runs: leave it out for a job on a cluster")
    if find_spec("kubernetes") is None:
        raise InputError(f"--cluster: the Kubernetes client is not installed: pip install 'branchmerge[{_EXTRA}]'")
    return _remote(job, namespace, context)


def _local(job: str) -> Path:
    path = Path(job)
    if not _is_file_name(path) and not path.exists():
        raise InputError(
            f"{job}: no such file: name the YAML file of a DistillationJob, or add --cluster for a job of this name on "
            "a cluster"
        )
    return path


def _remote(job: str, namespace: str | None, context: str | None) -> RemoteJob:
    """The job of that name, or the one that a file describes, as `kubectl -f` finds it."""
    path = Path(job)
    if not _is_file_name(path):
        return RemoteJob(job, namespace, context)
    metadata = load_job(path).job.metadata
    if namespace and metadata.namespace and namespace != metadata.namespace:
        raise InputError(
            f"--namespace: {namespace!r}: {path} says metadata.namespace: {metadata.namespace}: name one and the same"
        )
    return RemoteJob(metadata.name, namespace or metadata.namespace, context)


def _is_file_name(path: Path) -> bool:
    return path.suffix in _FILE_SUFFIXES or len(path.parts) > 1
