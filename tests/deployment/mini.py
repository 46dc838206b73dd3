"""What the miniature of `examples/mini` needs: its student, data and suites."""

import subprocess
import sys
from pathlib import Path

from deployment.images import CLONE
from localcluster.progress import step

MINI = CLONE / "examples" / "mini"
BUILT = MINI / "build"


def make_mini(folder: Path = BUILT) -> None:
    """Have `make.py` make it in a folder, unless it is there.

    Raises:
        CalledProcessError: it could not.
    """
    with step("making the miniature's inputs", hint="a minute or two, once"):
        subprocess.run([sys.executable, MINI / "make.py", folder], check=True, stdout=subprocess.DEVNULL)
