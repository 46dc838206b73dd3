"""Several mistakes of one input, so that a person can mend them all at once."""

from __future__ import annotations

from collections.abc import Sequence

from branchmerge.api.errors import InputError


class JobInputError(InputError):
    """One or more mistakes; each line names the field or file, the value and the fix."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


def lines_of(error: InputError) -> tuple[str, ...]:
    """The messages of an error, one a mistake."""
    return error.lines if isinstance(error, JobInputError) else (str(error),)
