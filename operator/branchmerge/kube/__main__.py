"""`python -m branchmerge.kube`: the operator's process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from pydantic import ValidationError

from branchmerge.api.errors import explain
from branchmerge.kube.cluster import Cluster
from branchmerge.kube.leader import LeadershipLost
from branchmerge.kube.logs import configure
from branchmerge.kube.operator import Operator
from branchmerge.kube.settings import OperatorSettings

SETTINGS_ENV = "BRANCHMERGE_OPERATOR_SETTINGS"
"""Path of the settings as JSON."""
PORT_ENV = "BRANCHMERGE_OPERATOR_PORT"
"""Where health, metrics and progress are served. Default: 8080."""

LOST = 1
"""Exit code of a replica that has lost the lead: Kubernetes starts it anew."""

logger = logging.getLogger("branchmerge.kube")


def main() -> int:
    """Run one replica. Exit code 64: its settings are wrong; `LOST`: it lost the lead."""
    configure(os.environ.get("BRANCHMERGE_LOG_LEVEL", "info"))
    try:
        settings = OperatorSettings.model_validate(json.loads(Path(os.environ[SETTINGS_ENV]).read_text()))
    except ValidationError as error:
        for line in explain(error, OperatorSettings):
            logger.error("settings: %s", line)
        return 64
    except (KeyError, OSError, ValueError) as error:
        logger.error("settings: %s must name a file of JSON: %s", SETTINGS_ENV, error)
        return 64
    asyncio.run(_run(settings))
    return 0


async def _run(settings: OperatorSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    identity = os.environ.get("POD_NAME") or socket.gethostname()
    namespace = os.environ.get("POD_NAMESPACE", "default")
    port = int(os.environ.get(PORT_ENV, "8080"))
    async with await Cluster.connect() as cluster:
        try:
            await Operator(cluster, settings, namespace, identity).run(port, stop)
        except LeadershipLost as error:
            logger.error("%s", error)
            os._exit(LOST)  # at once: what does not end when it is cancelled would work on beside the new leader


if __name__ == "__main__":
    sys.exit(main())
