"""A cluster comes up over whatever an earlier run left, twice without harm, and goes without a trace."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from capabilities import or_skip, speaking
from localcluster.build import go_version
from localcluster.cluster import Cluster
from localcluster.kubectl import Kubectl
from localcluster.lock import machine_lock
from localcluster.machine import require_nodes
from localcluster.topology import SMALL
from localcluster.waiting import until
from workloads import pod, template

TESTS = Path(__file__).parents[1]
OURS = r"branchmerge-small|branchmerge1|198\.19\."  # in whatever the machine says of itself
FOLDERS_OF_NODES = ("/etc/cni", "/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers")
KERNEL_SETTINGS = ("kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward", "vm/overcommit_memory")

pytestmark = [
    pytest.mark.timeout(300, func_only=True),  # building what it takes is not counted
    pytest.mark.cluster,  # two clusters that start at once on two cores are late
]


@pytest.fixture(autouse=True)
def nothing_there(request: pytest.FixtureRequest) -> Iterator[None]:
    """The small cluster is down before and after, and all that it takes is in the cache."""
    with speaking(request):
        or_skip(require_nodes)
        or_skip(go_version)
        Cluster(SMALL).prepare()
    localcluster("down")
    yield
    localcluster("down")


def test_a_cluster_comes_up_over_killed_starts_and_goes_without_a_trace() -> None:
    until("process 1 to reap what has ended", lambda: not processes(), timeout=10)
    assert traces() == []
    before = machine()

    for moment in ("control-plane/etcd.pid", "nodes/cpu/containerd.pid", "nodes/cpu/kube-proxy.pid"):
        kill_start_when_there_is(SMALL.folder / moment)
        assert traces() != [], "a killed start leaves processes"

    kubeconfig = kubeconfig_in(localcluster("up"))
    kubectl = Kubectl(kubeconfig)
    kubectl.apply(pod("stays", "default", template("sleep 600")))
    kubectl.wait("pod", "stays", lambda found: found["status"]["phase"] == "Running")
    uid = kubectl.get("pod", "stays")["metadata"]["uid"]

    assert kubeconfig_in(localcluster("up")) == kubeconfig
    assert kubectl.get("pod", "stays")["metadata"]["uid"] == uid, "the second start changed nothing"
    assert "Ready" in localcluster("status").stdout
    namespaces = namespaces_of(processes())
    assert len(namespaces) > len(SMALL.nodes), "nodes and pods have namespaces of their own"

    localcluster("down")
    until("process 1 to reap what has ended", lambda: not processes(), timeout=10)
    assert traces() == []
    assert machine() == before
    assert not kubeconfig.exists()
    assert "is not up" in localcluster("status", code=1).stdout


def test_a_second_command_waits_for_the_first() -> None:
    with machine_lock(SMALL.name) as lock:
        lock.alone()
        argv = [sys.executable, "-m", "localcluster", "down", "--size", "small"]
        second = subprocess.Popen(argv, env=environment(), stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        assert f"in use by process {os.getpid()}" in second.stderr.readline()
        assert second.poll() is None
    assert second.wait(timeout=60) == 0
    second.stderr.close()


def localcluster(command: str, *, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command on the small cluster, and check its exit code."""
    argv = [sys.executable, "-m", "localcluster", command, "--size", "small"]
    done = subprocess.run(argv, env=environment(), text=True, capture_output=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def kill_start_when_there_is(file: Path) -> None:
    """Start the small cluster, and kill that command at the moment when it has written a file."""
    argv = [sys.executable, "-m", "localcluster", "up", "--size", "small"]
    with subprocess.Popen(argv, env=environment(), stderr=subprocess.PIPE, start_new_session=True) as start:
        until(f"{file} of this start", lambda: younger(file, start.pid) or start.poll() is not None, timeout=60)
        assert start.poll() is None, start.communicate()
        os.killpg(start.pid, signal.SIGKILL)


def younger(file: Path, pid: int) -> bool:
    """Whether a file was written after a process started."""
    return file.exists() and file.stat().st_mtime > Path(f"/proc/{pid}").stat().st_mtime


def kubeconfig_in(done: subprocess.CompletedProcess[str]) -> Path:
    """The file that `up` tells to export."""
    assert done.stdout.startswith("export KUBECONFIG=")
    return Path(done.stdout.removeprefix("export KUBECONFIG=").strip())


def environment() -> dict[str, str]:
    """The environment of `python -m localcluster`."""
    return {**os.environ, "PYTHONPATH": str(TESTS)}


def traces() -> list[str]:
    """What is seen of the small cluster on this machine, in the kernel's and in `ip`'s words."""
    found = [f"process {read(path / 'cmdline')}" for path in processes()]
    for what in (["ip", "route", "show", "table", "all"], ["ip", "address"], ["ip", "netns"]):
        found += re.findall(f".*(?:{OURS}).*", printed(what))
    found += re.findall(f".*(?:{OURS}).*", read(Path("/proc/self/mountinfo")))
    found += re.findall(f".*(?:{OURS}).*", printed(["losetup", "--list"]))
    found += [path for path, *_ in os.walk("/sys/fs/cgroup") if SMALL.name in path]
    return found + [str(path) for path in Path("/var/lib").glob("branchmerge/*") if path.name == SMALL.name]


def processes() -> list[Path]:
    """The folders, below /proc, of the processes of the small cluster."""
    everything = Path("/proc").glob("[0-9]*")
    return [path for path in everything if SMALL.name in read(path / "cgroup") + read(path / "cmdline")]


def namespaces_of(folders: Iterator[Path] | list[Path]) -> set[str]:
    """The network and mount namespaces of processes, except this process's own."""
    found = set()
    for folder in folders:
        for kind in ("net", "mnt"):
            try:
                found.add(str((folder / "ns" / kind).readlink()))
            except OSError:
                continue
    return found - {str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("net", "mnt")}


def machine() -> dict[str, str]:
    """What a cluster must not change: devices, firewall, kernel settings, folders that nodes usually use."""
    seen = {f"/proc/sys/{name}": read(Path("/proc/sys") / name) for name in KERNEL_SETTINGS}
    seen |= {folder: str(Path(folder).exists()) for folder in FOLDERS_OF_NODES}
    seen["firewall"] = re.sub(r"^#.*|\[\d+:\d+\]", "", printed(["iptables-save"]), flags=re.MULTILINE)
    return seen


def read(file: Path) -> str:
    """A file's text; empty where it has just gone, as files of a process do."""
    try:
        return file.read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def printed(argv: list[str]) -> str:
    """What a program prints."""
    return subprocess.run(argv, text=True, capture_output=True, check=True).stdout
