"""Certificates and kubeconfigs, by kubeadm."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from localcluster.build import KUBERNETES
from localcluster.files import write_whole
from localcluster.shell import run
from localcluster.topology import CLUSTER_DOMAIN

USERS = {  # file -> the user's name and groups, as kubeadm has them
    "admin": ("kubernetes-admin", ("kubeadm:cluster-admins",)),
    "super-admin": ("kubernetes-super-admin", ("system:masters",)),
    "controller-manager": ("system:kube-controller-manager", ()),
    "scheduler": ("system:kube-scheduler", ()),
}


@dataclass(frozen=True)
class Pki:
    """The certificate authority of one cluster and what it has signed.

    Attributes:
        folder: where all of it is kept.
        host: the address where this machine reaches the API server.
        advertised: the address where pods reach it; kubeadm takes no loopback address for it.
        port: its port.
        services: the network of the cluster's services, as CIDR.
    """

    folder: Path
    host: str
    advertised: str
    port: int
    services: str

    def create(self) -> None:
        """Make every certificate, and the kubeconfigs of the control plane; what is there stays."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._config.write_text(yaml.safe_dump_all(self._documents()))
        self._kubeadm("init", "phase", "certs", "all")
        for component, (user, groups) in USERS.items():
            write_whole(self.kubeconfig(component), self.user_kubeconfig(user, groups=groups), mode=0o600)

    def certificate(self, name: str) -> Path:
        """The path of a certificate or key, such as `ca.crt`."""
        return self.folder / "pki" / name

    def kubeconfig(self, component: str) -> Path:
        """The kubeconfig of a part of the control plane, or of the cluster's administrator (`admin`)."""
        assert component in USERS, component
        return self.folder / f"{component}.conf"

    def user_kubeconfig(self, user: str, *, groups: tuple[str, ...] = ()) -> str:
        """A new kubeconfig for a user of that name, in those groups."""
        organisations = [word for group in groups for word in ("--org", group)]
        return self._kubeadm("kubeconfig", "user", "--client-name", user, *organisations)

    def dns_manifests(self) -> list[dict[str, Any]]:
        """The objects by which kubeadm installs CoreDNS."""
        return list(yaml.safe_load_all(self._kubeadm("init", "phase", "addon", "coredns", "--print-manifest")))

    @cached_property
    def _config(self) -> Path:
        return self.folder / "kubeadm.yaml"

    def _kubeadm(self, *argv: str) -> str:
        return run([KUBERNETES.program("kubeadm"), *argv, "--config", self._config])

    def _documents(self) -> list[dict[str, Any]]:
        version = "kubeadm.k8s.io/v1beta4"
        return [
            {
                "apiVersion": version,
                "kind": "InitConfiguration",
                "localAPIEndpoint": {"advertiseAddress": self.advertised, "bindPort": self.port},
                "nodeRegistration": {"name": "control-plane", "criSocket": "unix:///run/containerd/containerd.sock"},
            },
            {
                "apiVersion": version,
                "kind": "ClusterConfiguration",
                "kubernetesVersion": KUBERNETES.version,
                "clusterName": "branchmerge",
                "certificatesDir": str(self.folder / "pki"),
                "controlPlaneEndpoint": f"{self.host}:{self.port}",
                "encryptionAlgorithm": "ECDSA-P256",
                "apiServer": {"certSANs": [self.host, "127.0.0.1", "localhost"]},
                "networking": {"serviceSubnet": self.services, "dnsDomain": CLUSTER_DOMAIN},
                "dns": {"imageRepository": "localhost/branchmerge", "imageTag": "latest"},
            },
        ]
