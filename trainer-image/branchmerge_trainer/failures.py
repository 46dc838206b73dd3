"""What can go wrong in a stage, and what each failure means to whoever started the attempt."""

from __future__ import annotations

import errno
import sys

from branchmerge.api.errors import InputError
from branchmerge.api.stage import ExitCode, Outcome

_DISK_ERRNOS = {
    errno.ENOSPC: "no space left: free some, or choose a larger workspace",
    errno.EDQUOT: "the disk quota is used up: raise it, or choose another workspace",
    errno.EROFS: "the file system is read-only: mount it read-write",
    errno.EEXIST: "something else is in the way: remove it, or choose another workspace",
    errno.ENOTDIR: "a file is in the way where a folder is needed: remove it, or choose another workspace",
    errno.EACCES: "permission denied: give this user the right, or choose another workspace",
}
_TRANSIENT_NAMES = frozenset({"ConnectionError", "ConnectTimeout", "HfHubHTTPError", "ReadTimeout", "Timeout"})
"""Exceptions of HTTP libraries, by name so that the libraries need not be imported."""


class TransientError(RuntimeError):
    """Something outside failed for now; the same attempt may succeed later."""


class Interrupted(BaseException):
    """The attempt was asked to stop, and has saved what it can resume from.

    Like KeyboardInterrupt it passes through a library's `except Exception`.
    """


class RankError(Exception):
    """A rank ended with `outcome`."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


def outcome_of(error: BaseException) -> Outcome:
    """The exit code, reason and one line for people that `error` means."""
    match error:
        case RankError():
            return error.outcome
        case Interrupted() | KeyboardInterrupt():
            return Outcome(exit_code=ExitCode.INTERRUPTED, reason="Interrupted", message=str(error) or "stopped")
        case InputError():
            return Outcome(exit_code=ExitCode.INPUT, reason="InvalidInput", message=str(error))
        case TransientError():
            return Outcome(exit_code=ExitCode.TRANSIENT, reason="Transient", message=str(error))
        case MemoryError():
            return Outcome(exit_code=ExitCode.FAILURE, reason="OutOfMemory", message=_MEMORY_ADVICE)
        case OSError() if error.errno in _DISK_ERRNOS:
            where = f"{error.filename}: " if error.filename else ""
            return Outcome(
                exit_code=ExitCode.INPUT, reason="WorkspaceUnusable", message=f"{where}{_DISK_ERRNOS[error.errno]}"
            )
        case _:
            full = _full_disk(error)
            return _by_name(error) if full is None else outcome_of(full)


def log_needed(error: BaseException, outcome: Outcome) -> bool:
    """Whether the traceback helps a person.

    It does not where the message says what to do, and a rank has told its own.
    """
    return outcome.exit_code not in (ExitCode.INPUT, ExitCode.INTERRUPTED) and not isinstance(error, RankError)


def report(outcome: Outcome) -> None:
    """Print the one line for people to standard error."""
    print(f"{outcome.reason}: {outcome.message}", file=sys.stderr, flush=True)


_MEMORY_ADVICE = (
    "out of memory: lower training.microBatchSize or sequenceLength, set gradientCheckpointing: true, "
    "or shard more (parallelism.zeroStage, more nodes)"
)


def _full_disk(error: BaseException) -> OSError | None:
    """The full disk that a library stumbled over, where an error of its own hides it."""
    hidden = error.__cause__ or error.__context__
    while hidden is not None:
        if isinstance(hidden, OSError) and hidden.errno in (errno.ENOSPC, errno.EDQUOT):
            return hidden
        hidden = hidden.__cause__ or hidden.__context__
    return None


def _by_name(error: BaseException) -> Outcome:
    names = {base.__name__ for base in type(error).__mro__}
    text = str(error).strip() or type(error).__name__
    if "OutOfMemoryError" in names:
        return Outcome(exit_code=ExitCode.FAILURE, reason="OutOfMemory", message=_MEMORY_ADVICE)
    if "No space left on device" in text:  # libraries in Rust and C++ do not raise OSError
        return Outcome(
            exit_code=ExitCode.INPUT, reason="WorkspaceUnusable", message=f"{_DISK_ERRNOS[errno.ENOSPC]} ({text[:200]})"
        )
    if names & _TRANSIENT_NAMES:
        return Outcome(exit_code=ExitCode.TRANSIENT, reason="Transient", message=f"{type(error).__name__}: {text}")
    return Outcome(exit_code=ExitCode.FAILURE, reason="Error", message=f"{type(error).__name__}: {text[:1000]}")
