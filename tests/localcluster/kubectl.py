"""kubectl, and reads with the answers as Python objects."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from localcluster.build import KUBERNETES
from localcluster.reading import Object, ReadError, reader
from localcluster.shell import run
from localcluster.waiting import until


@dataclass(frozen=True)
class Kubectl:
    """kubectl as one user of one cluster.

    Attributes:
        kubeconfig: who and where.
    """

    kubeconfig: Path

    def __call__(self, *argv: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run `kubectl argv…` and return what it prints; `timeout` in seconds.

        Raises:
            CommandError: kubectl ended with another code than 0.
        """
        program = KUBERNETES.program("kubectl")
        return run([program, "--kubeconfig", self.kubeconfig, *argv], stdin=stdin, timeout=timeout)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects, server-side, and take over the fields that another manager set."""
        together = {"apiVersion": "v1", "kind": "List", "items": objects}
        self("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(together))

    def get(self, kind: str, name: str, namespace: str = "default") -> Object:
        """One object; raises ReadError where it cannot be read."""
        return reader(self.kubeconfig).get(kind, name, namespace)

    def find(self, kinds: str, namespace: str = "default", selector: str = "") -> list[Object]:
        """The objects of a namespace that have those labels, of one kind or of several (`jobs,pods`)."""
        return reader(self.kubeconfig).find(kinds, namespace, selector)

    def exists(self, kind: str, name: str, namespace: str = "default") -> bool:
        """Whether there is an object of that name."""
        try:
            return bool(self.get(kind, name, namespace))
        except ReadError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return False
            raise

    def wait(
        self, kind: str, name: str, good: Callable[[Object], bool], *, namespace: str = "default", timeout: float = 60
    ) -> Object:
        """Wait until an object exists and is good, and return it; `timeout` in seconds.

        Raises:
            ClusterError: `timeout` passed.
        """

        def probe() -> Object | None:
            found = self.get(kind, name, namespace)
            return found if good(found) else None

        found = until(f"{kind} {namespace}/{name}", probe, timeout=timeout, interval=0.3)
        assert found is not None
        return found

    def healthy(self) -> bool:
        """Whether the API server says that it is ready."""
        return reader(self.kubeconfig).healthy()


def has_condition(subject: Object, kind: str) -> bool:
    """Whether a condition of that type is true in the object's status."""
    conditions = subject.get("status", {}).get("conditions") or []  # a definition has null there at first
    return any(entry["type"] == kind and entry["status"] == "True" for entry in conditions)
