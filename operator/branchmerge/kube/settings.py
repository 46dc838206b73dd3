"""What the administrator decides: pools, images, identity. The chart renders it from its values into one file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from branchmerge.api.base import DNS_LABEL, QuantityText, SpecModel


class Pool(SpecModel):
    """A named set of nodes. A job names it; how its nodes are found is the administrator's business."""

    node_selector: dict[str, str] = Field(default_factory=dict, description="Labels that its nodes carry.")
    tolerations: list[dict[str, Any]] = Field(default_factory=list, description="Taints that its pods accept.")
    resource_name: str = Field("nvidia.com/gpu", description="Extended resource that counts its accelerators.")
    queue: str | None = Field(None, description="Kueue LocalQueue that its stages wait in. Default: none.")
    accelerator_memory: QuantityText | None = Field(None, description="Memory of one accelerator, in bytes.")
    runtime_class: str | None = Field(None, description="RuntimeClass of its pods. Default: the cluster's.")
    cpu: QuantityText = Field("1", description="CPU request of a node's pod where a job asks for none, in cores.")
    memory: QuantityText = Field("2Gi", description="Memory request and limit where a job asks for none, in bytes.")


class LeaderElection(SpecModel):
    """The Lease that one replica holds while it reconciles."""

    lease_name: str = "branchmerge-operator"
    lease_seconds: int = Field(15, ge=3, description="A leader that has not renewed for so long has lost, in seconds.")
    renew_seconds: int = Field(5, ge=1, description="Time between two renewals, in seconds.")


class OperatorSettings(SpecModel):
    """Everything that the operator is told at its start."""

    pools: dict[Annotated[str, Field(pattern=DNS_LABEL)], Pool] = Field(default_factory=dict)
    default_pool: Pool = Field(default_factory=Pool, description="For stages that name no pool.")
    trainer_image: str = Field(description="Image of every stage.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: list[str] = Field(default_factory=list)
    watch_namespace: str | None = Field(None, description="The only namespace that is watched. Default: all.")
    run_as_user: int = Field(65532, ge=1, description="User id of stages; their workspace must let it write.")
    fs_group: int = Field(65532, ge=1, description="Group that owns the files of a workspace.")
    shared_memory: QuantityText = Field("8Gi", description="Limit of /dev/shm in training pods, in bytes.")
    progress_url: str | None = Field(None, description="URL under which stages reach the operator's progress server.")
    leader_election: LeaderElection = Field(default_factory=LeaderElection)
    workers: int = Field(8, ge=1, description="Jobs that are reconciled at the same time.")
    resync_seconds: int = Field(300, ge=10, description="Every job is looked at again after this long, in seconds.")
