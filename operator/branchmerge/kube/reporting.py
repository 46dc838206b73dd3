"""Progress that stages post, by child. Lost with the process, and there again with each stage's next post."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from branchmerge.api.stage import Progress


@dataclass
class ProgressBoard:
    """The last report of each child, and when its first step was seen."""

    _reports: dict[tuple[str, str], Progress] = field(default_factory=dict)

    def post(self, namespace: str, child: str, status: dict[str, Any]) -> None:
        """Keep a body of Kubeflow's trainer-status protocol. Raises ValueError where it is none."""
        self._reports[namespace, child] = progress_of(status)

    def of(self, namespace: str, child: str) -> Progress | None:
        """The child's last report."""
        return self._reports.get((namespace, child))

    def forget(self, namespace: str, child: str) -> None:
        """Drop a child that is gone."""
        self._reports.pop((namespace, child), None)


def progress_of(status: dict[str, Any]) -> Progress:
    """`trainerStatus` of the protocol as a report. Raises ValueError, KeyError or TypeError for other bodies."""
    figures = {entry["name"]: entry["value"] for entry in status.get("metrics", [])}
    return Progress(
        phase=str(figures.get("phase", "Running"))[:64],
        step=_whole(figures.get("current_step")),
        steps=_whole(figures.get("total_steps")),
        loss=_number(figures.get("loss")),
        tokens_per_second=_number(figures.get("tokens_per_second")),
        eta_seconds=_number(status.get("estimatedRemainingSeconds")),
        updated_at=datetime.now(UTC),
    )


def _whole(value: Any) -> int | None:
    return None if value is None else int(float(value))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
