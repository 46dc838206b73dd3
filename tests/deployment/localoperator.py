"""The operator as a process of this machine: with its chart's settings and rights, and any server as its API server."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import yaml

from branchmerge.local.environment import free_port
from deployment.release import Release
from localcluster.waiting import until

END_SECONDS = 20


@dataclass
class LocalOperator:
    """One replica that can be killed and started again within a second.

    A pod that is killed waits longer and longer before it is started anew; what is tested is the same program.

    Attributes:
        release: whose settings it takes, and whose ServiceAccount it is.
        server: URL of what it takes for its API server.
        folder: for its settings, kubeconfig and log.
        identity: its name in the election. One that keeps it need not wait for its own lease to end.
    """

    release: Release
    server: str
    folder: Path
    identity: str = "local"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        admin, namespace = self.release.admin, self.release.namespace
        settings = admin.get("configmap", self.release.deployment, namespace)["data"]["settings.json"]
        token = admin("create", "token", self.release.deployment, "-n", namespace, "--duration=1h").strip()
        self._settings.write_text(settings)
        self._kubeconfig.write_text(yaml.safe_dump(kubeconfig(self.server, token)))

    def override(self, **settings: Any) -> None:
        """Replace some of its settings, before it is started."""
        self._settings.write_text(json.dumps(json.loads(self._settings.read_text()) | settings))

    @property
    def log(self) -> Path:
        """What it printed, over all its starts: a JSON object a line."""
        return self.folder / f"{self.identity}.log"

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start its process, unless it runs."""
        if self.running:
            return
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "branchmerge.kube"], env=self._environment(), stdout=log, stderr=log
            )

    def kill(self) -> None:
        """Kill it at once, as `kill -9` does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def pause(self) -> None:
        """Let it hang until `proceed`, or until it is killed."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def proceed(self) -> None:
        """Let it go on where it hung."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> int:
        """Ask it to end, and return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(END_SECONDS)

    def health(self, path: str) -> tuple[int, str]:
        """(status, text) of `/healthz` or `/readyz`; status 0 where it does not answer."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except (URLError, OSError):
            return 0, ""

    def wait_ready(self, *, timeout: float = 30) -> None:
        """Wait until it leads, and says that it is ready; `timeout` in seconds."""

        def leads() -> bool:
            lease = self.release.admin.get("lease", self.release.deployment, self.release.namespace)
            return bool(lease["spec"].get("holderIdentity") == self.identity) and self.health("/readyz")[0] == 200

        until(f"{self.identity} to lead", leads, timeout=timeout, interval=0.2)

    @property
    def _settings(self) -> Path:
        return self.folder / f"{self.identity}.json"

    @property
    def _kubeconfig(self) -> Path:
        return self.folder / f"{self.identity}.kubeconfig"

    def _environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig),
            "BRANCHMERGE_OPERATOR_SETTINGS": str(self._settings),
            "BRANCHMERGE_OPERATOR_PORT": str(self.port),
            "POD_NAME": self.identity,
            "POD_NAMESPACE": self.release.namespace,
        }


def kubeconfig(server: str, token: str) -> dict[str, object]:
    """The kubeconfig of who shows this token."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": "operator", "user": {"token": token}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "operator"}}],
        "current-context": "proxy",
    }
