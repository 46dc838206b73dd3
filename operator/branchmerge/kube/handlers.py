"""kopf's part: it watches jobs and puts their keys on the queue. Its handlers do nothing else, because their errors
would be dropped."""

from __future__ import annotations

from typing import Any

import kopf
from kopf._core.engines.peering import Identity

from branchmerge.api.resource import GROUP, PLURAL, VERSION
from branchmerge.kube.controller import JobKey
from branchmerge.kube.witness import Witness
from branchmerge.kube.workqueue import WorkQueue


def register(
    registry: kopf.OperatorRegistry, queue: WorkQueue[JobKey], phases: dict[JobKey, str], witness: Witness
) -> None:
    """Have every event of a job queue it; `phases` is kept current for the metrics, `witness` for the health."""
    kopf.on.login(registry=registry, id="service-account")(kopf.login_with_service_account)
    kopf.on.login(registry=registry, id="kubeconfig")(kopf.login_with_kubeconfig)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    def _on_job(event: kopf.RawEvent, namespace: str | None, name: str | None, **_: Any) -> None:
        assert namespace is not None
        assert name is not None
        key = (namespace, name)
        if event["type"] == "DELETED":
            phases.pop(key, None)
            witness.gone(key)
        else:
            phases[key] = (event["object"].get("status") or {}).get("phase", "Pending")
            witness.told(key, event["object"]["metadata"]["resourceVersion"])
        queue.add(key)


def identity(name: str) -> Identity:
    """Who this replica is for kopf, which would else ask for its user's name; a container's user has none."""
    return Identity(name)


def settings() -> kopf.OperatorSettings:
    """kopf without finalizers, annotations, events and peering of its own."""
    own = kopf.OperatorSettings()
    own.posting.enabled = False
    own.peering.standalone = True
    own.persistence.diffbase_storage = kopf.StatusDiffBaseStorage(field="status.kopf")
    own.scanning.disabled = True
    own.networking.request_timeout = 30
    own.watching.server_timeout = 300
    return own
