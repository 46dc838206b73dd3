"""etcd, the API server, the controller manager and the scheduler: as daemons on this machine."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from localcluster.build import ETCD, KUBERNETES, KUBERNETES_NODES
from localcluster.daemons import Daemon, Wrap
from localcluster.errors import ClusterError
from localcluster.kubectl import Kubectl
from localcluster.pki import Pki
from localcluster.waiting import until

AUDIT_POLICY = Path(__file__).parent / "manifests" / "audit-policy.yaml"
READY_TIMEOUT_SECONDS = 60
ADMINISTRATORS = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "kubeadm:cluster-admins"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "kubeadm:cluster-admins"}],
}
LOGS_AND_EXEC = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "kube-apiserver-kubelet-client"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:kubelet-api-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "kube-apiserver-kubelet-client"}],
}


@dataclass(frozen=True)
class ControlPlane:
    """The control plane of one cluster.

    Attributes:
        folder: where data, certificates and logs are kept.
        host: the address where the API server listens.
        advertised: the address that it tells to pods.
        port: its port.
        services: the network of the cluster's services, as CIDR.
        wrap: turns a command into one that runs in its right place, such as a cgroup.
        nodes: whether the cluster has nodes; without them there is no scheduler.
    """

    folder: Path
    host: str
    advertised: str
    port: int
    services: str
    wrap: Wrap
    nodes: bool

    @cached_property
    def pki(self) -> Pki:
        """Its certificates and kubeconfigs."""
        return Pki(self.folder, self.host, self.advertised, self.port, self.services)

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as the cluster's administrator."""
        return Kubectl(self.pki.kubeconfig("admin"))

    @property
    def audit_log(self) -> Path:
        """The audit log: one JSON object a line, one line a request."""
        return self.folder / "audit.log"

    @property
    def daemons(self) -> list[Daemon]:
        """Its programs, in the order in which they start."""
        programs = [self.etcd, self.apiserver, self.controller_manager]
        return [*programs, self.scheduler] if self.nodes else programs

    def start(self) -> None:
        """Start it, and return when the API answers, its administrator may do everything, and controllers work."""
        self.pki.create()
        self.etcd.start()
        self.apiserver.start()
        self.wait_ready()
        Kubectl(self.pki.kubeconfig("super-admin")).apply(ADMINISTRATORS, LOGS_AND_EXEC)
        for daemon in self.daemons:  # the others end where the API does not answer within seconds
            daemon.start()
        until("the controllers", self._controllers_work, timeout=READY_TIMEOUT_SECONDS)

    def restart_apiserver(self, *, grace: float = 10) -> None:
        """Stop the API server (0: kill it at once), start it again, and return when it answers."""
        self.apiserver.stop(grace=grace)
        self.apiserver.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return when the API server says that it is ready.

        Raises:
            ClusterError: it or etcd ended, or it took too long.
        """
        for _ in range(READY_TIMEOUT_SECONDS):
            self.etcd.require_running()
            self.apiserver.require_running()
            if self._ready_within(seconds=1):
                return
        raise ClusterError(f"the API server is not ready after {READY_TIMEOUT_SECONDS} s; see {self.apiserver.log}")

    def stop(self) -> None:
        """Stop it, the API server's readers and writers first."""
        for daemon in reversed(self.daemons):
            daemon.stop(grace=5)

    @cached_property
    def etcd(self) -> Daemon:
        """etcd, on sockets that only this user can open: whoever reaches it is above RBAC."""
        return self._daemon(
            ETCD.program("etcd"),
            [
                f"--data-dir={self.folder}/etcd",
                "--unsafe-no-fsync",  # a cluster for tests does not outlive the machine
                f"--listen-client-urls={self._etcd_socket}",
                "--advertise-client-urls=http://localhost:2379",  # demanded, and used by no client of ours
                f"--listen-peer-urls=unix://{self.folder}/etcd-peer.sock",
                "--log-level=warn",
            ],
        )

    @cached_property
    def apiserver(self) -> Daemon:
        """The API server: RBAC and Node authorization, Pod Security admission, audit log."""
        pki = self.pki
        return self._daemon(
            KUBERNETES.program("kube-apiserver"),
            [
                f"--etcd-servers={self._etcd_socket}",
                f"--bind-address={self.host}",
                f"--advertise-address={self.advertised}",
                f"--secure-port={self.port}",
                f"--service-cluster-ip-range={self.services}",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--enable-aggregator-routing=true",  # webhooks are reached at their pods: no kube-proxy on this machine
                "--allow-privileged=true",
                f"--audit-policy-file={AUDIT_POLICY}",
                f"--audit-log-path={self.audit_log}",
                "--audit-log-mode=blocking",  # what a test has seen happen is in the log
                f"--client-ca-file={pki.certificate('ca.crt')}",
                f"--tls-cert-file={pki.certificate('apiserver.crt')}",
                f"--tls-private-key-file={pki.certificate('apiserver.key')}",
                f"--kubelet-client-certificate={pki.certificate('apiserver-kubelet-client.crt')}",
                f"--kubelet-client-key={pki.certificate('apiserver-kubelet-client.key')}",
                "--kubelet-preferred-address-types=InternalIP",
                f"--proxy-client-cert-file={pki.certificate('front-proxy-client.crt')}",
                f"--proxy-client-key-file={pki.certificate('front-proxy-client.key')}",
                f"--requestheader-client-ca-file={pki.certificate('front-proxy-ca.crt')}",
                "--requestheader-allowed-names=front-proxy-client",
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                f"--service-account-key-file={pki.certificate('sa.pub')}",
                f"--service-account-signing-key-file={pki.certificate('sa.key')}",
                # A lost node's pods are evicted after seconds, not after the default's five minutes.
                "--default-not-ready-toleration-seconds=5",
                "--default-unreachable-toleration-seconds=5",
                "--shutdown-delay-duration=0s",
            ],
        )

    @cached_property
    def controller_manager(self) -> Daemon:
        """The controller manager; a silent node counts as lost after 20 seconds."""
        kubeconfig = self.pki.kubeconfig("controller-manager")
        ca, key = self.pki.certificate("ca.crt"), self.pki.certificate("ca.key")
        return self._daemon(
            KUBERNETES.program("kube-controller-manager"),
            [
                *self._as_component(kubeconfig),
                "--use-service-account-credentials=true",
                f"--root-ca-file={ca}",
                f"--service-account-private-key-file={self.pki.certificate('sa.key')}",
                f"--cluster-signing-cert-file={ca}",
                f"--cluster-signing-key-file={key}",
                f"--service-cluster-ip-range={self.services}",
                "--node-monitor-grace-period=20s",
                "--node-monitor-period=2s",
            ],
        )

    @cached_property
    def scheduler(self) -> Daemon:
        """The scheduler."""
        return self._daemon(
            KUBERNETES_NODES.program("kube-scheduler"), self._as_component(self.pki.kubeconfig("scheduler"))
        )

    def _as_component(self, kubeconfig: Path) -> list[str]:
        return [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--secure-port=0",  # its metrics are nobody's business here, and a fixed port could be taken
            "--leader-elect=false",
            "--kube-api-qps=500",  # the default of 20 makes the controllers take seconds to start
            "--kube-api-burst=1000",
        ]

    def _daemon(self, program: Path, flags: list[str]) -> Daemon:
        return Daemon(program.name, self.folder, [str(program), *flags], self.wrap)

    def _controllers_work(self) -> bool:
        self.controller_manager.require_running()
        return self.kubectl.exists("serviceaccount", "default")

    @property
    def _etcd_socket(self) -> str:
        return f"unix://{self.folder}/etcd.sock"

    def _ready_within(self, *, seconds: float) -> bool:
        try:
            return until("the API server", self.kubectl.healthy, timeout=seconds, interval=0.1)
        except ClusterError:
            return False
