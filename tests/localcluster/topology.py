"""What a cluster consists of: its nodes, their pools, and every address and name that follows from that."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localcluster.cgroups import Cgroup

STATE_ROOT = Path("/var/lib/branchmerge")
POOL_LABEL = "branchmerge.dev/pool"
GPU_RESOURCE = "nvidia.com/gpu"
BENCHMARK_NETWORK = ipaddress.IPv4Network("198.18.0.0/15")  # RFC 2544: used by no real network
CLUSTER_DOMAIN = "cluster.local"
API_PORT = 6443


@dataclass(frozen=True)
class NodeSpec:
    """One node.

    Attributes:
        name: of the node.
        pool: the value of its label `branchmerge.dev/pool`.
        gpus: how many GPUs it reports; a node with GPUs has the taint `nvidia.com/gpu:NoSchedule`.
    """

    name: str
    pool: str
    gpus: int = 0

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels that it registers with."""
        return {POOL_LABEL: self.pool}

    @property
    def taints(self) -> list[dict[str, str]]:
        """The taints that it registers with."""
        return [{"key": GPU_RESOURCE, "effect": "NoSchedule"}] if self.gpus else []


@dataclass(frozen=True)
class Topology:
    """A cluster as it shall be.

    Attributes:
        name: of the cluster, its cgroup and its folder.
        slot: 0 or 1: which half of 198.18.0.0/15 it uses. Clusters of different slots run side by side.
        nodes: its nodes; the first one without GPUs also carries what every cluster needs, such as DNS.
        training_operator: whether the Kubeflow training operator is installed.
    """

    name: str
    slot: int
    nodes: tuple[NodeSpec, ...] = field(default=())
    training_operator: bool = True

    @property
    def folder(self) -> Path:
        """Where all that it writes is kept."""
        return STATE_ROOT / self.name

    @property
    def cgroup(self) -> Cgroup:
        """The cgroup of all that it runs."""
        return Cgroup(self.name)

    @property
    def link(self) -> str:
        """The network device by which this machine reaches it."""
        return f"branchmerge{self.slot}"

    @property
    def machines(self) -> ipaddress.IPv4Network:
        """The addresses of nodes and of this machine."""
        return next(self._network.subnets(new_prefix=24))

    @property
    def pods(self) -> ipaddress.IPv4Network:
        """The addresses of pods."""
        return list(self._network.subnets(new_prefix=17))[1]

    @property
    def services(self) -> ipaddress.IPv4Network:
        """The addresses of services."""
        return list(self._network.subnets(new_prefix=18))[1]

    @property
    def host(self) -> str:
        """The address of this machine, where the API server listens."""
        return str(self.machines[1])

    @property
    def dns(self) -> str:
        """The service address of the cluster's DNS."""
        return str(self.services[10])

    def node_address(self, node: NodeSpec) -> str:
        """The address of a node."""
        return str(self.machines[11 + self.nodes.index(node)])

    def node_pods(self, node: NodeSpec) -> ipaddress.IPv4Network:
        """The addresses of a node's pods."""
        return list(self.pods.subnets(new_prefix=24))[self.nodes.index(node)]

    @property
    def _network(self) -> ipaddress.IPv4Network:
        return list(BENCHMARK_NETWORK.subnets(new_prefix=16))[self.slot]


FULL = Topology(
    name="branchmerge",
    slot=0,
    nodes=(NodeSpec("cpu", "cpu"), NodeSpec("gpu-a", "gpu-a", gpus=8), NodeSpec("gpu-b", "gpu-b", gpus=8)),
)
SMALL = Topology(name="branchmerge-small", slot=1, nodes=(NodeSpec("cpu", "cpu"),), training_operator=False)
TOPOLOGIES = {"full": FULL, "small": SMALL}
