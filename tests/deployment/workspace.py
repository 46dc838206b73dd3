"""A namespace that runs jobs: *restricted* Pod Security, and a volume that every node can write."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localcluster.kubectl import Kubectl
from localcluster.reading import Object

CLAIM = "workspace"
STAGE_USER = 65532
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


@contextmanager
def job_namespace(admin: Kubectl, name: str, folder: Path) -> Iterator[str]:
    """A namespace with a claim on `folder` of this machine, which stages may write; it goes, and its volume with it."""
    prepare(admin, name, folder)
    try:
        yield name
    finally:
        admin("delete", "namespace", name, "--ignore-not-found", "--wait=false")
        admin("delete", "persistentvolume", name, "--ignore-not-found", "--wait=false")


def prepare(admin: Kubectl, name: str, folder: Path) -> None:
    """Make the namespace and its claim, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    hand_over(folder)
    admin.apply(_namespace(name), _volume(name, folder), _claim(name))


def hand_over(folder: Path) -> None:
    """Make a folder and what is in it the stages' own."""
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, STAGE_USER, STAGE_USER)


def _namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}


def _volume(name: str, folder: Path) -> Object:
    """The nodes share this machine's files, so a folder of it is a volume that many nodes can write."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "capacity": {"storage": "10Gi"},
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": name, "name": CLAIM},
            "hostPath": {"path": str(folder)},
        },
    }


def _claim(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "namespace": name},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "10Gi"}},
            "storageClassName": "",
            "volumeName": name,
        },
    }
