"""A whole cluster: up, down, and what tests need of it in between."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from localcluster.addons import (
    dns_image,
    install_dns,
    install_training_operator,
    training_operator_image,
    wait_for_dns,
    wait_for_training_operator,
)
from localcluster.audit import AuditLog
from localcluster.build import CONTAINERD, ETCD, KUBERNETES, KUBERNETES_NODES, go_version
from localcluster.cache import key_of
from localcluster.cgroups import Cgroup
from localcluster.cleanup import sweep
from localcluster.controlplane import ControlPlane
from localcluster.daemons import Daemon
from localcluster.errors import ClusterError
from localcluster.files import write_whole
from localcluster.images import Image, load
from localcluster.kubectl import Kubectl
from localcluster.machine import require_nodes
from localcluster.network import Switch
from localcluster.node import Node
from localcluster.progress import step
from localcluster.standins import alpine_image, pause_image
from localcluster.topology import API_PORT, Topology

SOURCES = Path(__file__).parent
PARALLEL_STARTS = 3  # nodes


@dataclass(frozen=True)
class Record:
    """What a cluster that is up says of itself to those who come later.

    Attributes:
        made_of: changes with anything that a cluster is made of.
        kept: whether it is meant to outlive those who use it; one that is not, and that nobody uses, was left by a
            process that was killed.
    """

    made_of: str
    kept: bool


@dataclass(frozen=True)
class Cluster:
    """One cluster on this machine. Hold the machine's lock of its name around `up` and `down`."""

    topology: Topology

    def up(self, *, keep: bool) -> bool:
        """Bring it up, unless it is; return whether it had to be started.

        What a killed run left is removed first, and so is a cluster that was made of other parts.

        Args:
            keep: whether it outlives those who use it.

        Raises:
            CannotRunError: this machine cannot run nodes.
            ClusterError: a part of it did not start, or there is one of other parts that somebody keeps.
        """
        require_nodes()
        if self.usable():
            return False
        if not keep and self._kept_by_somebody():
            raise ClusterError(
                f"{self.topology.name} is kept, but made of other versions: make cluster-down, or cluster"
            )
        self.prepare()
        sweep(self.topology)
        with step("starting the control plane"):
            self._control_cgroup.create()
            self.switch.start()
            self.control_plane.start()
        with step(f"starting nodes: {', '.join(node.name for node in self.nodes)}"):
            self._each_node(lambda node: node.start(self.switch))
            self.switch.route()
            load(self._images_of_all, self.nodes)
            load(self._images_of_first, self.nodes[:1])
            self._each_node(Node.wait_ready)
        with step("installing DNS and the training operator" if self.topology.training_operator else "installing DNS"):
            self._install_addons()
        write_whole(self._record, json.dumps(asdict(Record(made_of(), keep))))
        return True

    def prepare(self) -> None:
        """Build the programs and images that are not in the cache yet, before anything is taken down or started."""
        for tool in (ETCD, KUBERNETES, KUBERNETES_NODES, CONTAINERD):
            tool.folder()
        for image in [*self._images_of_all, *self._images_of_first]:
            image.archive()

    def down(self) -> None:
        """End it, and leave nothing of it on this machine."""
        with step(f"removing cluster {self.topology.name}"):
            sweep(self.topology)

    def usable(self) -> bool:
        """Whether it is whole, and meant to be kept."""
        record = self._recorded
        return record is not None and record.kept and self.whole()

    def whole(self) -> bool:
        """Whether it is up, all of it, and made of the parts that we would make it of."""
        record = self._recorded
        if record is None or record.made_of != made_of():
            return False
        return all(daemon.pid is not None for daemon in self._daemons) and self.kubectl.healthy()

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of its administrator."""
        return self.control_plane.pki.kubeconfig("admin")

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as its administrator."""
        return self.control_plane.kubectl

    @property
    def audit(self) -> AuditLog:
        """The log of every request to its API server."""
        return AuditLog(self.control_plane.audit_log)

    def node(self, name: str) -> Node:
        """Its node of that name."""
        return next(node for node in self.nodes if node.name == name)

    def load(self, *images: Image, nodes: Sequence[str] = ()) -> None:
        """Build images, and load them into the nodes of those names (without names: into every node)."""
        load(images, [node for node in self.nodes if not nodes or node.name in nodes])

    @cached_property
    def control_plane(self) -> ControlPlane:
        """Its control plane, on this machine's address in the cluster's network."""
        topology = self.topology
        return ControlPlane(
            folder=topology.folder / "control-plane",
            host=topology.host,
            advertised=topology.host,
            port=API_PORT,
            services=str(topology.services),
            wrap=self._control_cgroup.entering,
            nodes=True,
        )

    @cached_property
    def switch(self) -> Switch:
        """What its nodes are plugged into."""
        return Switch(self.topology)

    @cached_property
    def nodes(self) -> list[Node]:
        """Its nodes."""
        pki, kubectl = self.control_plane.pki, self.control_plane.kubectl
        return [Node(spec, self.topology, pki, kubectl) for spec in self.topology.nodes]

    @property
    def _control_cgroup(self) -> Cgroup:
        return self.topology.cgroup.below("control-plane")

    @property
    def _record(self) -> Path:
        return self.topology.folder / "up.json"

    @property
    def _recorded(self) -> Record | None:
        try:
            return Record(**json.loads(self._record.read_text()))
        except FileNotFoundError:
            return None

    def _kept_by_somebody(self) -> bool:
        record = self._recorded
        return record is not None and record.kept and any(daemon.pid is not None for daemon in self._daemons)

    @property
    def _daemons(self) -> list[Daemon]:
        return [*self.control_plane.daemons, *(daemon for node in self.nodes for daemon in node.daemons)]

    def _each_node(self, work: Callable[[Node], None]) -> None:
        with ThreadPoolExecutor(max_workers=PARALLEL_STARTS) as pool:
            list(pool.map(work, self.nodes))

    @property
    def _images_of_all(self) -> list[Image]:
        return [pause_image(), alpine_image()]

    @property
    def _images_of_first(self) -> list[Image]:
        return [dns_image(), training_operator_image()] if self.topology.training_operator else [dns_image()]

    def _install_addons(self) -> None:
        install_dns(self.kubectl, self.control_plane.pki)
        if self.topology.training_operator:
            install_training_operator(self.kubectl)
            wait_for_training_operator(self.kubectl)
        wait_for_dns(self.kubectl)


def made_of() -> str:
    """A key of everything that a cluster is made of: this package, and the versions that it pins."""
    files = sorted(path for path in SOURCES.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return key_of([go_version().encode(), *(path.read_bytes() for path in files)])
