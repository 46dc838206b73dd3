"""A user of a cluster who has the rights that a test names, in one namespace, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from localcluster.kubectl import Kubectl

GROUPS = {"distillationjobs": "branchmerge.dev", "jobs": "batch"}


def write_kubeconfig(path: Path, admin: Kubectl, namespace: str, rights: Mapping[str, Iterable[str]]) -> None:
    """Make the user, and write a kubeconfig of its own; `rights` are verbs by resource."""
    name = "limited"
    rules = [
        {"apiGroups": [GROUPS.get(resource, "")], "resources": [resource], "verbs": [*verbs]}
        for resource, verbs in rights.items()
    ]
    metadata = {"name": name, "namespace": namespace}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules}
    admin.apply(role, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    user = f"--serviceaccount={namespace}:{name}"
    admin("create", "rolebinding", name, "-n", namespace, f"--role={name}", user)
    config = yaml.safe_load(admin.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": admin("create", "token", name, "-n", namespace).strip()}
    config["contexts"][0]["context"]["namespace"] = namespace
    path.write_text(yaml.safe_dump(config))
