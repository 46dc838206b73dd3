"""The chart, installed by the real helm."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from deployment.images import CLONE
from localcluster.build import HELM
from localcluster.kubectl import Kubectl
from localcluster.shell import run

CHART = CLONE / "charts" / "branchmerge"
LOCAL_VALUES = CHART / "ci" / "local-values.yaml"
TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Release:
    """One installation of the operator in a cluster.

    Attributes:
        admin: who installs it.
        namespace: where it is installed; made where it is not there.
        name: of the release; its Deployment, ServiceAccount and Lease are named after it.
    """

    admin: Kubectl
    namespace: str = "branchmerge-system"
    name: str = "branchmerge"

    def install(self, values: Mapping[str, Any] | None = None) -> None:
        """Install or upgrade it, and wait until every replica is ready; `values` go over those for this machine."""
        self.helm(
            *["upgrade", "--install", self.name, str(CHART), "--create-namespace", "--reset-values"],
            *["--values", str(LOCAL_VALUES), "--values", "-", "--wait", f"--timeout={TIMEOUT_SECONDS}s"],
            stdin=yaml.safe_dump(dict(values or {})),
        )

    def uninstall(self) -> None:
        """Remove it; jobs and their definition stay."""
        self.helm("uninstall", self.name, "--wait", "--ignore-not-found", f"--timeout={TIMEOUT_SECONDS}s")

    def helm(self, *argv: str, stdin: str | None = None) -> str:
        """Run helm in the release's namespace, and return what it prints."""
        where = ["--kubeconfig", self.admin.kubeconfig, "--namespace", self.namespace]
        return run([HELM.program("helm"), *where, *argv], stdin=stdin, timeout=TIMEOUT_SECONDS + 30)

    @property
    def deployment(self) -> str:
        """Name of the operator's Deployment and ServiceAccount."""
        return self.name if "branchmerge" in self.name else f"{self.name}-branchmerge"

    @property
    def user(self) -> str:
        """Who the operator is for the API server, and in its audit log."""
        return f"system:serviceaccount:{self.namespace}:{self.deployment}"
