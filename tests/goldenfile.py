"""Files that tests compare with, and write anew where they are told to (`make golden`)."""

import os
from pathlib import Path


def assert_as_before(folder: Path, case: str, text: str) -> None:
    """Compare a text with the file of its case; with GOLDEN=write, it becomes that file first."""
    path = folder / f"{case.replace(' ', '-')}.yaml"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text(), "run `make golden` and read the diff"
