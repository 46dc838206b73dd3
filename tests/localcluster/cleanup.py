"""Ending a cluster for good, whatever state it is in: running, half-started, or left by a run that was killed."""

import shutil
from contextlib import suppress
from pathlib import Path

from localcluster.cgroups import MOUNTINFO
from localcluster.network import plugged_in, unplug
from localcluster.shell import run
from localcluster.topology import STATE_ROOT, Topology
from localcluster.waiting import until


def sweep(topology: Topology) -> None:
    """Remove every process, namespace, mount, disk, device, route, cgroup and file of a cluster.

    Namespaces, the mounts in them and the devices between them go with the processes that hold them.
    """
    topology.cgroup.end()
    topology.cgroup.remove()
    unplug(topology)
    for mount in reversed(_mounts_below(topology.folder)):
        run(["umount", "--lazy", mount])
    until("the nodes' disks to be let go", lambda: not _disks_below(topology.folder), timeout=20, interval=0.05)
    if topology.folder.exists():
        shutil.rmtree(topology.folder)
    with suppress(OSError):  # another cluster's folder may be in it
        STATE_ROOT.rmdir()


def remains(topology: Topology) -> list[str]:
    """What there is of a cluster on this machine, in words; empty after `sweep`."""
    found = [f"process {pid}" for pid in sorted(topology.cgroup.pids())]
    found += [f"cgroup {folder}" for folder in topology.cgroup.folders()]
    found += [f"mount {mount}" for mount in _mounts_below(topology.folder)]
    found += [f"disk {disk}" for disk in _disks_below(topology.folder)]
    found += [f"network device {topology.link}"] if plugged_in(topology) else []
    if topology.folder.exists():
        found.append(f"folder {topology.folder}")
    return found


def _mounts_below(folder: Path) -> list[Path]:
    mounts = (Path(line.split()[4]) for line in MOUNTINFO.read_text().splitlines())
    return [mount for mount in mounts if mount.is_relative_to(folder)]


def _disks_below(folder: Path) -> list[Path]:
    """Files that are the disk of a loop device; the kernel lets go of one a moment after its last mount went."""
    found = []
    for backing_file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):
            found.append(Path(backing_file.read_text().strip()))
    return [disk for disk in found if disk.is_relative_to(folder)]
