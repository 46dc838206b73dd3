"""A node: containerd, kubelet and kube-proxy in namespaces of their own.

A node has its own network and its own /run, /var/lib and /var/log, so that each of its programs uses its usual places.
The rest of the machine's files it shares with the other nodes: a host path is a volume that many nodes can write.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from localcluster.build import CONTAINERD, KUBERNETES_NODES
from localcluster.cgroups import Cgroup
from localcluster.daemons import Daemon
from localcluster.files import write_whole
from localcluster.kubectl import Kubectl
from localcluster.machine import cni_plugins
from localcluster.network import HOLD, Namespace, Switch
from localcluster.pki import Pki
from localcluster.shell import run
from localcluster.topology import CLUSTER_DOMAIN, GPU_RESOURCE, NodeSpec, Topology
from localcluster.waiting import until

CONTAINERD_CONFIG = Path(__file__).parent / "manifests" / "containerd.toml"
OWN_FOLDERS = {"run": "/run", "log": "/var/log"}
DISK_OPTIONS = ("-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard")  # it outlives no crash
DISK_SIZE = "100G"  # it takes no more of the machine's disk than what is written to it
KERNEL_SETTINGS = {  # what a kubelet sets for the whole machine: here it sees files with these values instead
    "kernel/keys/root_maxbytes": "25000000",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}
SETTINGS = Path("/run/branchmerge")  # as seen inside a node
SOCKET = "run/containerd/containerd.sock"
READY_TIMEOUT_SECONDS = 60
LONG_AGO = datetime.fromtimestamp(0, UTC)
CRI_NAMESPACE = "k8s.io"


@dataclass(frozen=True)
class Node:
    """One node of a cluster."""

    spec: NodeSpec
    topology: Topology
    pki: Pki
    admin: Kubectl

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name

    @property
    def folder(self) -> Path:
        """Where everything of it is kept."""
        return self.topology.folder / "nodes" / self.name

    @property
    def cgroup(self) -> Cgroup:
        """The cgroup of its daemons and pods."""
        return self.topology.cgroup.below(self.name)

    @property
    def pods(self) -> Cgroup:
        """The cgroup of its pods, which its kubelet makes."""
        return self.cgroup.below("kubepods")

    def start(self, switch: Switch) -> None:
        """Start it from nothing; return when containerd answers. It registers itself with the API server."""
        self._prepare_folder()
        self._daemon_cgroup.create()
        self.namespace.start()
        switch.connect(self.spec, self.namespace)
        self._start_programs()

    def wait_ready(self, *, since: datetime = LONG_AGO) -> None:
        """Return when the API server calls it Ready, by word that its kubelet gave after `since`, and it has its GPUs.

        Raises:
            ClusterError: it took too long, or a program of it ended for good.
        """

        def ready() -> bool:
            self.containerd.require_running()
            self.kube_proxy.require_running()
            if (
                self.kubelet.pid is None
            ):  # it ends where containerd answers and its CRI does not; systemd revives it, too
                self.kubelet.start()
                return False
            conditions = self.admin.get("node", self.name)["status"]["conditions"]
            entry = next(entry for entry in conditions if entry["type"] == "Ready")
            return entry["status"] == "True" and datetime.fromisoformat(entry["lastHeartbeatTime"]) >= since

        until(f"node {self.name} to be Ready", ready, timeout=READY_TIMEOUT_SECONDS)
        self.report_gpus()

    def report_gpus(self) -> None:
        """Write its GPUs into its status, as a device plugin would have it; scheduler and kubelet then count them.

        A kubelet that starts anew forgets them.
        """
        if self.spec.gpus:
            count = {GPU_RESOURCE: str(self.spec.gpus)}
            patch = {"status": {"capacity": count, "allocatable": count}}
            self.admin("patch", "node", self.name, "--subresource=status", "--patch", json.dumps(patch))

    def lose(self) -> None:
        """Take it away at once, as when its power fails: kubelet and containers die, and nobody says so to the API."""
        for daemon in (self.kubelet, self.kube_proxy, self.containerd):
            daemon.stop(grace=0)
        self.pods.end()

    def bring_back(self) -> None:
        """Start it again after `lose`, and return when it is Ready."""
        since = datetime.now(UTC).replace(microsecond=0)  # the API's times have whole seconds
        self._start_programs()
        self.wait_ready(since=since)

    def _start_programs(self) -> None:
        self.containerd.start()
        until(f"containerd of node {self.name}", self._containerd_answers, timeout=30, interval=0.1)
        self.kubelet.start()
        self.kube_proxy.start()

    def ctr(self, *argv: str, timeout: float = 600) -> str:
        """Run containerd's client `ctr` on its containers and images; `timeout` in seconds."""
        client = [str(CONTAINERD.program("ctr")), "--address", str(self.folder / SOCKET), "--namespace", CRI_NAMESPACE]
        return run([*client, *argv], timeout=timeout)

    def load(self, archive: Path) -> None:
        """Import an image's archive, unless it is the one that its name stands for here already.

        Its layers are kept unpacked only: packed ones would take as much again.
        """
        image, _, key = archive.parent.name.rpartition("-")
        loaded = self.folder / "images" / image
        if not loaded.exists() or loaded.read_text() != key:
            self.ctr("images", "import", "--local", "--discard-unpacked-layers", str(archive))
            write_whole(loaded, key)

    @property
    def daemons(self) -> list[Daemon]:
        """Its programs, in the order in which they start."""
        return [self.containerd, self.kubelet, self.kube_proxy]

    @cached_property
    def namespace(self) -> Namespace:
        """Its network and its mounts; everything mounted in there goes with its last process."""
        own = {f"run/{SETTINGS.name}/sysctl/{name}": f"/proc/sys/{name}" for name in KERNEL_SETTINGS}
        mounts = [f"mount --bind {self.folder}/{ours} {place}" for ours, place in {**own, **OWN_FOLDERS}.items()]
        mounts.append(
            f"mount -o loop,noatime,discard {self._disk} /var/lib"
        )  # the last one: it hides where all of this is
        script = "\n".join(["set -e", *mounts, "mount --make-rshared /", f"exec {' '.join(HOLD)}"])
        argv = ["unshare", "--net", "--mount", "--propagation", "slave", "sh", "-c", script]
        return Namespace(Daemon("node", self.folder, argv, self._daemon_cgroup.entering), ("net", "mnt"))

    @cached_property
    def containerd(self) -> Daemon:
        """containerd; its shims and runc are found by its PATH."""
        path = f"PATH={CONTAINERD.folder()}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        program = str(CONTAINERD.program("containerd"))
        return self._daemon("containerd", ["env", path, program, "--config", f"{SETTINGS}/containerd.toml"])

    @cached_property
    def kubelet(self) -> Daemon:
        """The kubelet."""
        flags = [
            f"--config={SETTINGS}/kubelet.yaml",
            f"--kubeconfig={SETTINGS}/kubelet.conf",
            f"--hostname-override={self.name}",
            f"--node-ip={self.topology.node_address(self.spec)}",
            f"--node-labels={','.join(f'{key}={value}' for key, value in self.spec.labels.items())}",
        ]
        return self._daemon("kubelet", [str(KUBERNETES_NODES.program("kubelet")), *flags])

    @cached_property
    def kube_proxy(self) -> Daemon:
        """kube-proxy."""
        program = str(KUBERNETES_NODES.program("kube-proxy"))
        flags = [f"--config={SETTINGS}/kube-proxy.yaml", f"--hostname-override={self.name}"]
        return self._daemon("kube-proxy", [program, *flags])

    @property
    def _disk(self) -> Path:
        """The disk of its /var/lib: one file, so that a node with big images goes as fast as it came."""
        return self.folder / "disk"

    @property
    def _daemon_cgroup(self) -> Cgroup:
        return self.cgroup.below("daemons")

    def _daemon(self, name: str, argv: list[str]) -> Daemon:
        def wrap(argv: list[str]) -> list[str]:
            return self._daemon_cgroup.entering(self.namespace.entering(argv))

        return Daemon(name, self.folder, argv, wrap)

    def _containerd_answers(self) -> bool:
        self.containerd.require_running()
        return bool(self.ctr("version"))

    def _prepare_folder(self) -> None:
        for ours in OWN_FOLDERS:
            (self.folder / ours).mkdir(parents=True)
        run(["mkfs.ext4", "-q", *DISK_OPTIONS, self._disk, DISK_SIZE])
        user = self.pki.user_kubeconfig
        for name, text in {
            "containerd.toml": CONTAINERD_CONFIG.read_text().replace("@CNI_PLUGINS@", str(cni_plugins())),
            "cni/10-branchmerge.conflist": json.dumps(self._cni_config()),
            "ca.crt": self.pki.certificate("ca.crt").read_text(),
            "kubelet.yaml": yaml.safe_dump(self._kubelet_config()),
            "kubelet.conf": user(f"system:node:{self.name}", groups=("system:nodes",)),
            "kube-proxy.yaml": yaml.safe_dump(self._kube_proxy_config()),
            "kube-proxy.conf": user("system:kube-proxy"),
            **{f"sysctl/{name}": value for name, value in KERNEL_SETTINGS.items()},
        }.items():
            write_whole(self.folder / "run" / SETTINGS.name / name, text, mode=0o600)

    def _cni_config(self) -> Mapping[str, Any]:
        ranges = [[{"subnet": str(self.topology.node_pods(self.spec))}]]
        # A pod's link is routed, not bridged: then iptables sees all of its traffic without br_netfilter.
        routed = {"type": "ptp", "ipam": {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}}
        return {
            "cniVersion": "1.0.0",
            "name": "branchmerge",
            "plugins": [routed, {"type": "portmap", "capabilities": {"portMappings": True}}],
        }

    def _kubelet_config(self) -> Mapping[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{SETTINGS}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.cgroup.path}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,  # lowering it takes a capability that root lacks in some sandboxes
            "clusterDNS": [self.topology.dns],
            "clusterDomain": CLUSTER_DOMAIN,
            "resolvConf": "",
            "registerWithTaints": self.spec.taints,
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "serializeImagePulls": False,
            "nodeStatusUpdateFrequency": "4s",
            "syncFrequency": "5s",
            "logging": {"verbosity": 1},
        }

    def _kube_proxy_config(self) -> Mapping[str, Any]:
        return {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": f"{SETTINGS}/kube-proxy.conf"},
            "mode": "iptables",
            "clusterCIDR": str(self.topology.pods),
            "conntrack": {"maxPerCore": 0, "min": 0},
        }
