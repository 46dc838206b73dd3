"""Go programs, built once from the modules that go/<tool>/go.mod and go.sum pin."""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from localcluster.cache import cache_root, key_of, once
from localcluster.errors import CannotRunError
from localcluster.progress import step
from localcluster.shell import run

MODULES = Path(__file__).parent / "go"
BUILD_TIMEOUT_SECONDS = 3_600
BUILD_FLAGS = ("-trimpath", "-buildvcs=false")
PARALLEL_COMPILERS = "2"


@dataclass(frozen=True)
class Tool:
    """One pinned Go module and the programs that are built from it.

    Attributes:
        name: of the tool.
        module: the path of the module, whose version the programs report.
        programs: the name of each program -> the path of its package.
        version_variables: Go variables -> what they are set to: `{version}`, `{major}`, `{minor}` of the module.
        folders: folders of the module's source that are kept beside the programs.
        hint: how long a build from nothing takes on two cores.
        pins: the folder below go/ that pins it, where that is not its name.
    """

    name: str
    module: str
    programs: Mapping[str, str]
    version_variables: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    hint: str = "about a minute, once"
    pins: str = ""

    def program(self, program: str) -> Path:
        """The path of one of its programs, built where it is not yet."""
        assert program in self.programs, program
        return self.folder() / program

    def folder(self) -> Path:
        """The folder that holds its programs, built where it is not yet."""

        def make(into: Path) -> None:
            with step(f"building {self.name} {self.version}".strip(), hint=self.hint):
                self._build(into)

        return once(self._location(), make)

    @property
    def version(self) -> str:
        """The version of the module, as go.mod requires it; empty for our own module."""
        found = re.search(rf"^(?:require)?\s*{re.escape(self.module)} (v\S+)", self._pinned("go.mod"), re.MULTILINE)
        return found.group(1) if found else ""

    def _location(self) -> Path:
        pins = [self._pinned("go.mod"), self._pinned("go.sum"), go_version()]
        ingredients = [
            *pins,
            *BUILD_FLAGS,
            *self._linker_flags(),
            *self.programs,
            *self.programs.values(),
            *self.folders,
        ]
        ours = sorted(self._folder.glob("*.go"))
        key = key_of([*(text.encode() for text in ingredients), *(path.read_bytes() for path in ours)])
        return cache_root() / "bin" / f"{self.name}-{key}"

    @property
    def _folder(self) -> Path:
        return MODULES / (self.pins or self.name)

    def _pinned(self, file: str) -> str:
        return (self._folder / file).read_text()

    def _linker_flags(self) -> list[str]:
        major, minor, *_ = [*self.version.removeprefix("v").split("."), "", ""]
        sets = [
            f"-X {variable}={value.format(version=self.version, major=major, minor=minor)}"
            for variable, value in self.version_variables.items()
        ]
        return ["-s", "-w", *sets]

    def _build(self, into: Path) -> None:
        module = self._folder
        env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"}
        go = ["nice", "-n", "10", "go"]
        flags = " ".join(self._linker_flags())
        for name, package in self.programs.items():
            output = ["-o", str(into / name), package]
            argv = [*go, "build", "-p", PARALLEL_COMPILERS, *BUILD_FLAGS, "-ldflags", flags, *output]
            run(argv, cwd=module, env=env, timeout=BUILD_TIMEOUT_SECONDS)
        if self.folders:
            source = Path(run([*go, "list", "-m", "-f", "{{.Dir}}", self.module], cwd=module, env=env).strip())
            for folder in self.folders:
                shutil.copytree(source / folder, into / folder, copy_function=shutil.copyfile)


@cache
def go_version() -> str:
    """What `go version` prints.

    Raises:
        CannotRunError: there is no Go on this machine.
    """
    if not shutil.which("go"):
        raise CannotRunError(
            "go: not found in PATH; the programs of the cluster are built with Go 1.26 or later: install it"
        )
    return run(["go", "version"]).strip()


_KUBERNETES = "k8s.io/kubernetes"
_KUBERNETES_VERSION = {
    "k8s.io/component-base/version.gitVersion": "{version}",
    "k8s.io/component-base/version.gitMajor": "{major}",
    "k8s.io/component-base/version.gitMinor": "{minor}",
}
KUBERNETES = Tool(
    name="kubernetes",
    module=_KUBERNETES,
    programs={
        name: f"{_KUBERNETES}/cmd/{name}"
        for name in ("kube-apiserver", "kube-controller-manager", "kubeadm", "kubectl")
    },
    version_variables=_KUBERNETES_VERSION,
    hint="about 4 minutes, once",
)
KUBERNETES_NODES = Tool(
    name="kubernetes-nodes",
    pins="kubernetes",
    module=_KUBERNETES,
    programs={name: f"{_KUBERNETES}/cmd/{name}" for name in ("kube-scheduler", "kubelet", "kube-proxy")},
    version_variables=_KUBERNETES_VERSION,
)
ETCD = Tool(name="etcd", module="go.etcd.io/etcd/server/v3", programs={"etcd": "go.etcd.io/etcd/server/v3"})
CONTAINERD = Tool(
    name="containerd",
    module="github.com/containerd/containerd/v2",
    programs={
        name: f"github.com/containerd/containerd/v2/cmd/{name}"
        for name in ("containerd", "containerd-shim-runc-v2", "ctr")
    },
    version_variables={"github.com/containerd/containerd/v2/version.Version": "{version}"},
)
COREDNS = Tool(name="coredns", module="github.com/coredns/coredns", programs={"coredns": "github.com/coredns/coredns"})
TRAINING_OPERATOR = Tool(
    name="training-operator",
    module="github.com/kubeflow/training-operator",
    programs={"manager": "github.com/kubeflow/training-operator/cmd/training-operator.v1"},
    folders=("manifests",),
)
HELM = Tool(name="helm", module="helm.sh/helm/v4", programs={"helm": "helm.sh/helm/v4/cmd/helm"})
PAUSE = Tool(name="pause", module="branchmerge.dev/localcluster/pause", programs={"pause": "."}, hint="seconds, once")
