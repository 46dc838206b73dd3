"""Programs that run to their end."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from localcluster.errors import ClusterError

SHOWN_CHARACTERS = 2_000


class CommandError(ClusterError):
    """A program ended with another code than 0.

    Attributes:
        code: its exit code, or None where it was ended for taking too long.
        stderr: all that it wrote to standard error.
    """

    def __init__(self, argv: Sequence[str], code: int | None, stderr: str) -> None:
        self.code = code
        self.stderr = stderr
        how = "took too long" if code is None else f"ended with code {code}"
        super().__init__(f"`{' '.join(argv)[:300]}` {how}: {stderr.strip()[-SHOWN_CHARACTERS:]}")


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 120,
) -> str:
    """Run a program and return its standard output.

    Args:
        argv: the program and its arguments.
        stdin: text for its standard input; without it the input is empty.
        env: its whole environment; without it, ours.
        cwd: its working directory.
        timeout: seconds after which it is killed.

    Raises:
        CommandError: it ended with another code than 0, or took too long.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, input=stdin or "", env=env, cwd=cwd, timeout=timeout, text=True, capture_output=True, check=False
        )
    except subprocess.TimeoutExpired as slow:
        raise CommandError(words, None, f"{timeout:.0f} s") from slow
    if done.returncode:
        raise CommandError(words, done.returncode, done.stderr or done.stdout)
    return done.stdout
