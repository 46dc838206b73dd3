"""The network of a cluster: one switch that nodes and this machine are plugged into.

The switch is a bridge in a network namespace of its own, so that no firewall of this machine sees the traffic between
nodes. No namespace has a default route: no packet of a cluster can leave the machine. Namespaces have no name; each
lives as long as the process that holds it, and devices and routes go with it.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localcluster.cgroups import Cgroup
from localcluster.daemons import Daemon
from localcluster.shell import CommandError, run
from localcluster.topology import NodeSpec, Topology
from localcluster.waiting import until

BRIDGE = "switch"
NODE_DEVICE = "eth0"
NETWORK_DEVICES = Path("/sys/class/net")
HOLD = ("sleep", "infinity")  # what a process does that holds namespaces open
_NSENTER = {"net": "net", "mnt": "mount"}  # the kernel's name of a kind of namespace -> the option of nsenter


@dataclass(frozen=True)
class Namespace:
    """The namespaces that a process holds open for others to enter.

    Attributes:
        holder: that process.
        kinds: which of its namespaces others enter: `net`, `mnt`.
    """

    holder: Daemon
    kinds: tuple[str, ...]

    def start(self) -> None:
        """Start the holder; return when the namespaces are there."""
        self.holder.start()
        until(f"the namespaces of {self.holder.name}", self._ready, timeout=10, interval=0.01)

    def entering(self, argv: list[str]) -> list[str]:
        """A command that runs `argv` in there, under the same process id."""
        self.holder.require_running()
        joins = [f"--{_NSENTER[kind]}={self._file(kind)}" for kind in self.kinds]
        return ["nsenter", *joins, "--wd=/", "--", *argv]

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        """Run a program in there to its end, and return what it prints."""
        return run(self.entering(argv), stdin=stdin)

    def _file(self, kind: str) -> Path:
        return Path(f"/proc/{self.holder.pid}/ns/{kind}")

    def _ready(self) -> bool:
        self.holder.require_running()
        return Path(f"/proc/{self.holder.pid}/comm").read_text().strip() == HOLD[0]


@dataclass(frozen=True)
class Switch:
    """The switch of one cluster, and this machine's link to it."""

    topology: Topology

    @property
    def namespace(self) -> Namespace:
        """The network namespace of the switch."""
        argv = ["unshare", "--net", *HOLD]
        return Namespace(Daemon("switch", self.topology.folder / "switch", argv, self._cgroup.entering), ("net",))

    @property
    def _cgroup(self) -> Cgroup:
        return self.topology.cgroup.below("switch")

    def start(self) -> None:
        """Make the switch and plug this machine into it."""
        self._cgroup.create()
        namespace, topology = self.namespace, self.topology
        namespace.start()
        _ip(namespace, f"link add {BRIDGE} type bridge", f"link set {BRIDGE} up", "link set lo up")
        run(_words(f"ip link add {topology.link} type veth peer name host netns {namespace.holder.pid}"))
        _ip(namespace, f"link set host master {BRIDGE}", "link set host up")
        run(_words(f"ip address add {topology.host}/{topology.machines.prefixlen} dev {topology.link}"))
        run(_words(f"ip link set {topology.link} up"))

    def connect(self, node: NodeSpec, namespace: Namespace) -> None:
        """Plug a node into the switch, and tell it where the pods of the others are."""
        topology = self.topology
        address = f"{topology.node_address(node)}/{topology.machines.prefixlen}"
        plug = f"link add {node.name} type veth peer name {NODE_DEVICE} netns {namespace.holder.pid}"
        _ip(self.namespace, plug, f"link set {node.name} master {BRIDGE}", f"link set {node.name} up")
        others = [other for other in topology.nodes if other != node]
        _ip(
            namespace,
            "link set lo up",
            f"address add {address} dev {NODE_DEVICE}",
            f"link set {NODE_DEVICE} up",
            # kube-proxy redirects what goes to a service, but only after the kernel has found some route to it.
            f"route add {topology.services} dev {NODE_DEVICE}",
            *(f"route add {topology.node_pods(other)} via {topology.node_address(other)}" for other in others),
        )
        namespace.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])

    def route(self) -> None:
        """Let this machine reach pods at their nodes, and services by the kube-proxy of the first node."""
        topology = self.topology
        for node in topology.nodes:
            run(_words(f"ip route replace {topology.node_pods(node)} via {topology.node_address(node)}"))
        run(_words(f"ip route replace {topology.services} via {topology.node_address(topology.nodes[0])}"))


def plugged_in(topology: Topology) -> bool:
    """Whether this machine's link to the switch is there."""
    return (NETWORK_DEVICES / topology.link).exists()


def unplug(topology: Topology) -> None:
    """Remove this machine's link to the switch, and the routes over it, where they are still there."""

    def gone() -> bool:
        if plugged_in(topology):
            with suppress(CommandError):  # it may just be going by itself, with the switch's namespace
                run(["ip", "link", "delete", topology.link])
        return not plugged_in(topology)

    until(f"network device {topology.link} to go", gone, timeout=20, interval=0.05)


def _ip(namespace: Namespace, *lines: str) -> None:
    namespace.run(["ip", "-batch", "-"], stdin="\n".join(lines))


def _words(line: str) -> list[str]:
    return line.split()
