"""Which cluster, and which namespace: as kubectl finds them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from kubernetes.aio.config.kube_config import (
    ENV_KUBECONFIG_PATH_SEPARATOR,
    KUBE_CONFIG_DEFAULT_LOCATION,
    KubeConfigMerger,
)

from branchmerge.api.errors import InputError

_DEFAULT_NAMESPACE = "default"
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Choice:
    """One cluster as one user."""

    context: str | None
    """Name in the kubeconfig; None: the cluster that this process is a pod of."""
    namespace: str
    """Where objects are looked for if the command line does not say."""

    def __str__(self) -> str:
        return f"context {self.context}" if self.context else "this pod's cluster"


def choose(context: str | None) -> Choice:
    """The context of that name, else the current one, else the cluster that this process is a pod of.

    Raises InputError where there is none.
    """
    files = os.pathsep.join(map(str, _files()))
    if files:
        return _from_files(context, files)
    if context is None and "KUBERNETES_SERVICE_HOST" in os.environ and _POD_NAMESPACE.exists():
        return Choice(None, _POD_NAMESPACE.read_text().strip())
    asked = "--cluster" if context is None else f"--context: {context!r}"
    raise InputError(f"{asked}: there is no {KUBE_CONFIG_DEFAULT_LOCATION}: name your kubeconfig in KUBECONFIG")


def _files() -> list[Path]:
    paths = KUBE_CONFIG_DEFAULT_LOCATION.split(ENV_KUBECONFIG_PATH_SEPARATOR)
    return [path for name in paths if name and (path := Path(name).expanduser()).is_file()]


def _from_files(context: str | None, files: str) -> Choice:
    try:
        merged = KubeConfigMerger(files).config.value
        known = {each["name"]: each["context"] for each in merged["contexts"]}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        reason = f": {' '.join(str(error).split())}" if isinstance(error, yaml.YAMLError) else ""
        raise InputError(f"{files}: no valid kubeconfig{reason}: mend it, or name another in KUBECONFIG") from None
    name = merged.get("current-context") if context is None else context
    if not name:
        raise InputError(f"--cluster: {files} has no current context: name one of {_listed(known)} with --context")
    if name not in known:
        raise InputError(f"--context: {name!r} is not in {files}: use one of {_listed(known)}")
    return Choice(name, known[name].safe_get("namespace") or _DEFAULT_NAMESPACE)


def _listed(contexts: Iterable[str]) -> str:
    return ", ".join(sorted(contexts)) or "none"
