"""Files that are whole or not there."""

from pathlib import Path


def write_whole(file: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file under another name, and give it its own when it is complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    half_written = file.with_name(f".{file.name}.new")
    half_written.unlink(missing_ok=True)
    half_written.touch(mode=mode)
    half_written.write_text(text)
    half_written.rename(file)
