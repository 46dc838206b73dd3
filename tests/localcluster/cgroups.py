"""A cgroup of our own in every hierarchy of the machine (v1, v2 or both).

Everything that a cluster runs, from etcd to the last process of a container, is in one cgroup or below it. So the
kernel keeps the list of what belongs to a cluster, whoever was killed, and ending it misses nothing.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from localcluster.waiting import until

MOUNTINFO = Path("/proc/self/mountinfo")
END_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Cgroup:
    """A cgroup by its path below the root of each hierarchy, such as `branchmerge/daemons`."""

    path: str

    def below(self, name: str) -> "Cgroup":
        """A cgroup inside this one."""
        return Cgroup(f"{self.path}/{name}")

    def create(self) -> None:
        """Make it in every hierarchy, its parents included, ready for processes and for cgroups below it."""
        for root in hierarchies():
            folder = root
            for name in self.path.split("/"):
                _delegate(folder)
                folder = folder / name
                folder.mkdir(exist_ok=True)
                _inherit_cpuset(folder)

    def folders(self) -> list[Path]:
        """Where it is, one folder a hierarchy."""
        return [folder for root in hierarchies() if (folder := root / self.path).is_dir()]

    def entering(self, argv: list[str]) -> list[str]:
        """A command that runs `argv` in this cgroup from its first instruction on, under the same process id."""
        files = [str(folder / "cgroup.procs") for folder in self.folders()]
        assert files, f"cgroup {self.path} was not created"
        script = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit; shift; done; shift; exec "$@"'
        return ["sh", "-c", script, "sh", *files, "--", *argv]

    def pids(self) -> set[int]:
        """The processes in it and below it."""
        found: set[int] = set()
        for folder in self._tree():
            with suppress(OSError):  # the cgroup may go while we read it
                found.update(map(int, (folder / "cgroup.procs").read_text().split()))
        return found

    def end(self) -> None:
        """Kill every process in it and below it, until there is none."""

        def ended() -> bool:
            pids = self.pids()
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not pids

        until(f"processes of cgroup {self.path} to end", ended, timeout=END_TIMEOUT_SECONDS, interval=0.05)

    def remove(self) -> None:
        """Remove it, and what is below it; there must be no process left."""

        def removed() -> bool:
            for folder in self._tree():
                with suppress(OSError):  # busy for a moment after its last process ended
                    folder.rmdir()
            return not self.folders()

        until(f"cgroup {self.path} to go", removed, timeout=END_TIMEOUT_SECONDS, interval=0.05)

    def _tree(self) -> Iterator[Path]:
        for folder in self.folders():
            for path, _, _ in os.walk(folder, topdown=False):
                yield Path(path)


def hierarchies() -> list[Path]:
    """The root of each cgroup hierarchy that is mounted."""
    found = []
    for line in MOUNTINFO.read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] in {"cgroup", "cgroup2"}:
            found.append(Path(before.split()[4]))
    return found


def _delegate(folder: Path) -> None:
    """In a v2 hierarchy, turn on the controllers for what is below; v1 has no such switch."""
    switch = folder / "cgroup.subtree_control"
    if switch.exists():
        controllers = (folder / "cgroup.controllers").read_text().split()
        switch.write_text(" ".join(f"+{name}" for name in controllers))


def _inherit_cpuset(folder: Path) -> None:
    """In the v1 cpuset hierarchy a new cgroup may use no CPU and no memory until it is told which."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = folder / name
        if file.exists() and (folder / "cgroup.clone_children").exists() and not file.read_text().strip():
            file.write_text((folder.parent / name).read_text())
