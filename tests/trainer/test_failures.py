"""What each exception means to whoever started the attempt."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from branchmerge.api.errors import InputError
from branchmerge.api.stage import Outcome
from branchmerge_trainer.failures import Interrupted, RankError, TransientError, log_needed, outcome_of


def hidden(error: Exception, cause: Exception) -> Exception:
    """The error that a library raises while it handles another."""
    try:
        try:
            raise cause
        except Exception:
            raise error  # noqa: B904 - as libraries do
    except Exception as raised:
        return raised


class ReadTimeout(Exception):  # noqa: N818
    """As HTTP libraries call it."""


FULL = OSError(errno.ENOSPC, "No space left on device", "/work/x")


@pytest.mark.parametrize(
    ("error", "code", "reason", "logged"),
    [
        pytest.param(InputError("field: value: fix"), 64, "InvalidInput", False, id="mistake"),
        pytest.param(TransientError("the Hub is away"), 75, "Transient", True, id="transient"),
        pytest.param(ReadTimeout("slow"), 75, "Transient", True, id="timeout-of-some-library"),
        pytest.param(Interrupted("stopped after step 3"), 143, "Interrupted", False, id="stopped"),
        pytest.param(KeyboardInterrupt(), 143, "Interrupted", False, id="control-c"),
        pytest.param(MemoryError(), 1, "OutOfMemory", True, id="memory"),
        pytest.param(FULL, 64, "WorkspaceUnusable", False, id="full-disk"),
        pytest.param(
            hidden(RuntimeError("unexpected pos 7 vs 5"), FULL), 64, "WorkspaceUnusable", False, id="full-disk-hidden"
        ),
        pytest.param(
            RuntimeError("I/O error: No space left on device"), 64, "WorkspaceUnusable", False, id="full-disk-of-rust"
        ),
        pytest.param(hidden(KeyError("x"), FileNotFoundError("y")), 1, "Error", True, id="another-error-hidden"),
        pytest.param(ValueError("odd"), 1, "Error", True, id="anything-else"),
    ],
)
def test_outcomes(error: BaseException, code: int, reason: str, logged: bool) -> None:
    outcome = outcome_of(error)
    assert (outcome.exit_code, outcome.reason) == (code, reason)
    assert outcome.message
    assert log_needed(error, outcome) == logged


def test_a_rank_has_told_its_own_story() -> None:
    told = Outcome(exit_code=1, reason="Error", message="odd")
    error = RankError(told)
    assert outcome_of(error) == told
    assert not log_needed(error, told)


@pytest.mark.parametrize("make", [lambda: FULL, lambda: OSError(errno.EROFS, "read-only", "/work/x")])
def test_a_disk_that_refuses_is_named_with_the_fix(make: Callable[[], OSError]) -> None:
    message = outcome_of(make()).message
    assert message.startswith("/work/x: ")
    assert ": free some" in message or "mount it" in message
