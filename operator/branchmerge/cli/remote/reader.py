"""A pod that prints one file of a workspace: the only way to a volume that this machine cannot mount. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from branchmerge.api.resource import API_VERSION, KIND
from branchmerge.api.stage import WORKSPACE_ENV
from branchmerge.kube.raw import Raw

CONTAINER = "read"
LIMIT_BYTES = 8 << 20
"""The kubelet keeps 10 MiB of a log by default."""
MISSING_EXIT = 66
TOO_LARGE_EXIT = 69
DEADLINE_SECONDS = 300
"""Should nobody be left to delete it, it ends by itself."""

_SCRIPT = f"""\
[ -f "$1" ] || exit {MISSING_EXIT}
size=$(wc -c < "$1") && [ "$size" -le {LIMIT_BYTES} ] || exit {TOO_LARGE_EXIT}
echo "$size" && cat "$1"
"""
_KEPT_OF_POD = (
    "affinity",
    "enableServiceLinks",
    "imagePullSecrets",
    "nodeSelector",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "tolerations",
)
_KEPT_OF_CONTAINER = ("image", "imagePullPolicy", "securityContext")
_RESOURCES = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}}


class UnreadableError(ValueError):
    """What was printed is not the whole file."""


def workspace_file(template: Raw, container: str, relative: str) -> str:
    """Path of a file of the workspace, as pods of this template see it."""
    environment = {each["name"]: each.get("value", "") for each in _named(template, container).get("env", [])}
    return str(PurePosixPath(environment[WORKSPACE_ENV]) / relative)


def reader_pod(name: str, job: Raw, template: Raw, container: str, path: str) -> dict[str, Any]:
    """A pod that prints a file's size and the file, where and as whom pods of `template` run.

    It mounts nothing but the volume that the file is on, read-only, has no credentials, and goes with the job.
    """
    kept, stage = template["spec"], _named(template, container)
    mount = max(
        (each for each in stage["volumeMounts"] if PurePosixPath(path).is_relative_to(each["mountPath"])),
        key=lambda each: len(each["mountPath"]),
    )
    reader = {key: stage[key] for key in _KEPT_OF_CONTAINER if key in stage} | {
        "name": CONTAINER,
        "command": ["sh", "-c", _SCRIPT, "read", path],
        "resources": _RESOURCES,
        "volumeMounts": [{**mount, "readOnly": True}],
    }
    spec = {key: kept[key] for key in _KEPT_OF_POD if key in kept} | {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": DEADLINE_SECONDS,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "containers": [reader],
        "volumes": [volume for volume in kept["volumes"] if volume["name"] == mount["name"]],
    }
    owner = {"apiVersion": API_VERSION, "kind": KIND, "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
    labels = {"app.kubernetes.io/managed-by": "branchmerge-cli", "app.kubernetes.io/component": "report-reader"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
        "spec": spec,
    }


def printed_file(log: bytes) -> bytes:
    """The file in the log of a pod that printed it. Raises UnreadableError where a part is missing.

    The container runtime ends the last line where the file does not.
    """
    first, _, rest = log.partition(b"\n")
    if not first.strip().isdigit():
        raise UnreadableError("its log does not begin with the file's size")
    size = int(first)
    if len(rest) < size or rest[size:] not in (b"", b"\n"):
        raise UnreadableError(f"its log has {len(rest)} bytes of {size}")
    return rest[:size]


def _named(template: Raw, container: str) -> Raw:
    found: Raw = next(each for each in template["spec"]["containers"] if each["name"] == container)
    return found
