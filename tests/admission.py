"""What an API server says of a DistillationJob, without keeping it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubernetes import client, config

from branchmerge.api.resource import GROUP, PLURAL, VERSION


class Admission:
    """Asks one API server, as the user of a kubeconfig, to create jobs in a dry run with strict validation."""

    def __init__(self, kubeconfig: Path) -> None:
        self._api = client.CustomObjectsApi(config.new_client_from_config(str(kubeconfig)))

    def refusal(self, document: Mapping[str, Any]) -> str | None:
        """Why the API server refuses a document; None where it accepts it."""
        try:
            self._api.create_namespaced_custom_object(
                GROUP, VERSION, "default", PLURAL, dict(document), dry_run="All", field_validation="Strict"
            )
        except client.ApiException as error:
            if error.status not in (400, 422):
                raise
            return str(json.loads(error.body)["message"])
        return None
