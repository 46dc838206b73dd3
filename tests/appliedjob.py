"""A job on a cluster that no operator works on: its status and its children are made by hand, from the real planner."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from branchmerge.api.resource import DistillationJob
from branchmerge.api.status import ChildRef, Status
from branchmerge.core.model import Start
from branchmerge.core.naming import child_name
from branchmerge.core.status import job_status
from branchmerge.kube.manifests import child_kind, child_manifest
from branchmerge.kube.settings import OperatorSettings, Pool
from builders import make_document, make_job
from localcluster.kubectl import Kubectl
from localcluster.reading import Object
from localcluster.topology import POOL_LABEL
from workloads import SHELL_IMAGE
from world import World

KINDS = ("curate", "train", "merge", "evaluate", "report")
POOL = "of-these-tests"
"""A pool that no operator knows: should one run on the cluster, it refuses the job and touches nothing of it."""
SETTINGS = OperatorSettings(
    trainer_image=SHELL_IMAGE,
    image_pull_policy="Never",
    pools={POOL: Pool(node_selector={POOL_LABEL: "cpu"}, cpu="10m", memory="32Mi")},
    default_pool=Pool(node_selector={POOL_LABEL: "cpu"}, cpu="10m", memory="32Mi"),
    shared_memory="8Mi",
)


@dataclass
class AppliedJob:
    """One job, as `kubectl apply` made it."""

    kubectl: Kubectl
    namespace: str
    edits: Mapping[str, Any] = field(default_factory=dict)
    world: World = field(init=False)

    def __post_init__(self) -> None:
        edits = {"resources.pool": POOL, "workspace.persistentVolumeClaim.claimName": "workspace", **self.edits}
        document = make_document({f"spec.{path}": value for path, value in edits.items()})
        document["metadata"] = {"name": "tiny", "namespace": self.namespace}
        self.kubectl.apply(document)
        metadata = self.kubectl.get("dj", "tiny", self.namespace)["metadata"]
        self.world = World(make_job(edits, namespace=self.namespace, uid=metadata["uid"]))
        self.world.now = self.world.started_at = datetime.now(UTC)

    @property
    def body(self) -> Object:
        """The object as the API server has it."""
        return self.kubectl.get("dj", "tiny", self.namespace)

    @property
    def job(self) -> DistillationJob:
        """The job as the planner sees it."""
        return self.world.job

    def advance(self, kind: str) -> None:
        """Everything before stages of this kind is done, and they run; then write the status."""
        earlier = KINDS[: KINDS.index(kind)]
        for _ in range(len(KINDS) + 1):
            self.world.settle()
            for attempt in self.world.active():
                if attempt.stage.partition("/")[0] in earlier:
                    self.world.end(attempt)
        self.write()

    def write(self, **changes: Any) -> Status:
        """Write the status as the operator would; `changes` are the fields that a test wants otherwise."""
        self.world.settle()  # what starts now is seen by the next pass
        status = job_status(self.job, self.world.settle(), self.world.observe())
        stages = [
            stage.model_copy(update={"child": self._child(stage.name, stage.fingerprint or "", stage.attempts)})
            if stage.attempts
            else stage
            for stage in status.stages
        ]
        generation = self.body["metadata"]["generation"]
        status = status.model_copy(update={"observed_generation": generation, "stages": stages} | changes)
        patch = {"status": status.model_dump(mode="json", by_alias=True, exclude_none=True)}
        where = ("dj", "tiny", "-n", self.namespace, "--subresource=status", "--type=merge")
        self.kubectl("patch", *where, "-p", json.dumps(patch))
        return status

    def child(self, stage: str) -> Object:
        """The child that the operator makes for the newest attempt of a stage."""
        attempt = [each for each in self.world.attempts.values() if each.stage == stage][-1]
        world = World(self.job)
        world.results = {key: result for key, result in self.world.results.items() if key[0] != stage}
        starts = [action for action in world.plan().actions if isinstance(action, Start)]
        start = next(action for action in starts if action.stage.key == attempt.key)
        return child_manifest(start, self.job, SETTINGS)

    def _child(self, stage: str, fingerprint: str, attempt: int) -> ChildRef:
        kind = child_kind(next(each.kind for each in self.world.graph().stages if each.name == stage))
        return ChildRef(kind=kind.kind, name=child_name(self.job.metadata.name, stage, fingerprint, attempt))
