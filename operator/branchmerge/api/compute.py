"""Where and on how much a stage runs. No part of any fingerprint."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from branchmerge.api.base import Name, QuantityText, Rule, SpecModel, cel


class Resources(SpecModel):
    """The pool and size of one stage. A branch's set replaces single leaves of the job's."""

    pool: Name | None = Field(
        None, description="Pool of nodes, as the administrator named it in the chart's values. Default: any node."
    )
    nodes: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="Nodes of the stage. Default 1.")
    gpus_per_node: Annotated[int, Field(ge=0, le=64)] = Field(
        0, description="Accelerators a node, of the pool's resource name. Default 0."
    )
    processes_per_node: Annotated[int, Field(ge=1, le=64)] | None = Field(
        None, description="Ranks a node. Default: one an accelerator, or one where there is none."
    )
    cpu: QuantityText | None = Field(None, description="CPU request a node, in cores. Default: the pool's.")
    memory: QuantityText | None = Field(
        None, description="Memory request and limit a node, in bytes. Default: the pool's."
    )

    @property
    def ranks_per_node(self) -> int:
        """Processes that one node starts."""
        return self.processes_per_node or max(1, self.gpus_per_node)

    @property
    def gpus(self) -> int:
        """Accelerators of the whole stage."""
        return self.nodes * self.gpus_per_node

    def overridden_by(self, other: Resources | None) -> Resources:
        """These settings with the leaves that `other` sets."""
        if other is None:
            return self
        return self.model_copy(update={name: getattr(other, name) for name in other.model_fields_set})


_ONE_NODE = Rule("!has(self.nodes) || self.nodes == 1", "only training runs on several nodes: remove it", ".nodes")


def _on_one_node(resources: Resources) -> Resources:
    if resources.nodes != 1:
        raise ValueError(f"nodes: {resources.nodes}, but {_ONE_NODE.message}")
    return resources


OneNode = Annotated[Resources, AfterValidator(_on_one_node), Field(json_schema_extra=cel(_ONE_NODE))]
"""The pool and size of a stage that is one pod or process."""
