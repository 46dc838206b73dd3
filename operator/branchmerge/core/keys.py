"""Which API keys a stage's process gets, and under which names. A key itself is never seen here."""

from __future__ import annotations

from branchmerge.api.objects import SecretKeyRef
from branchmerge.api.stage import JUDGE_KEY_ENV, TEACHER_KEY_ENV, CurateTask, Task


def keys_of(task: Task) -> dict[str, SecretKeyRef]:
    """Environment variable -> where its key is kept, for the endpoints that the stage asks."""
    if not isinstance(task, CurateTask):
        return {}
    verify = task.data.verify
    endpoints = {TEACHER_KEY_ENV: task.teacher, JUDGE_KEY_ENV: verify.judge if verify else None}
    return {
        name: endpoint.api_key_secret_ref
        for name, endpoint in endpoints.items()
        if endpoint is not None and endpoint.api_key_secret_ref is not None
    }
