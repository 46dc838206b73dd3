"""Where everything lies in the folder of a local run, `runs/<job>/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from branchmerge.api.resource import DistillationJob

DEFAULT_FOLDER = "runs"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A job's workspace on this machine: outputs of stages, and the records of a local run beside them."""

    root: Path

    @classmethod
    def of(cls, job: DistillationJob, override: Path | None = None) -> RunFolder:
        """The folder that the command line names, else the file, else `runs/<job>` under the current folder."""
        workspace = job.spec.workspace
        if override is not None:
            return cls(override.absolute())
        if workspace.path is not None and workspace.persistent_volume_claim is None:
            return cls(Path(workspace.path).absolute())
        return cls((Path(DEFAULT_FOLDER) / job.metadata.name).absolute())

    @property
    def stages(self) -> Path:
        """Outputs: `<stage>/<first 16 of the fingerprint>/`."""
        return self.root / "stages"

    @property
    def attempts(self) -> Path:
        """One folder an attempt, named as its child."""
        return self.root / "attempts"

    @property
    def lock(self) -> Path:
        """Held by the `branchmerge run` that works here."""
        return self.root / "lock"

    @property
    def status(self) -> Path:
        """The job's status, as `kubectl get -o json` would show it."""
        return self.root / "status.json"

    @property
    def run(self) -> Path:
        """When the job was last asked to run."""
        return self.root / "run.json"

    @property
    def pins(self) -> Path:
        """What inputs were resolved to, and digests of files that need not be read again."""
        return self.root / "pins.json"
