"""Every answer that an endpoint has given, appended as it arrives and found again by its key.

A folder holds shards, `answers-00000.jsonl` and so on. Once `append` returns, a kill of the process loses nothing; a
crash of the machine loses what came within the last seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from filelock import FileLock, Timeout

from branchmerge.api.errors import InputError
from branchmerge_trainer.curate.teacher.keys import Key
from branchmerge_trainer.curate.teacher.reply import Usage
from branchmerge_trainer.failures import TransientError
from branchmerge_trainer.workspace import sync_folder

_LOCK_FILE = ".lock"
SHARD_BYTES = 1 << 30
"""A larger shard is followed by another one."""
_SYNC_SECONDS = 5.0
_OFFSET_BITS = 48
"""A position is a number: the shard's above, the byte's below. A million of them take little memory."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a log: an answer, or the reason why there is none."""

    prompt: str
    """Digest of the conversation."""
    sample: int
    seed: int
    usage: Usage = field(default_factory=Usage)
    """What the endpoint counted; of an entry without an answer, an estimate of what came before it failed."""
    cost: str = "0"
    """Of `usage`, at the prices of the day, as decimal text."""
    currency: str | None = None
    model: str | None = None
    """As the endpoint calls it."""
    finish_reason: str | None = None
    reasoning: str | None = None
    answer: str | None = None
    """None where there is none; it is asked for again by the next attempt."""
    fault: str | None = None
    """Why there is no answer, in few words."""
    detail: str | None = None
    """Why there is no answer."""

    @property
    def key(self) -> Key:
        """By which it is found."""
        return Key(self.prompt, self.sample)

    def to_line(self) -> bytes:
        """One line of JSON."""
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(fields, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Raises ValueError, LookupError or TypeError where it is no entry."""
        fields: dict[str, Any] = json.loads(line)
        return cls(**{**fields, "usage": Usage(**fields["usage"])})


class AnswerLog:
    """The log in `folder`. One process at a time writes to it."""

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        """Read what earlier attempts left; a last line that a kill has torn is taken out, and told.

        Raises TransientError where another process is writing, InputError where a line is no entry.
        """
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._positions: dict[bytes, int] = {}
        self._synced_at = time.monotonic()
        self._dirty = False
        self.spent = Usage()
        """Tokens of all entries."""
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / _LOCK_FILE, timeout=0, mode=0o666, thread_local=False)
        self._take_lock()
        try:
            shards = sorted(folder.glob("answers-*.jsonl"))
            for number, path in enumerate(shards):
                self._load(number, path)
            self._shards = shards or [self._new_shard(0)]
            self._file = self._shards[-1].open("ab", buffering=0)
        except BaseException:
            self._lock.release()
            raise
        self._readers: dict[int, IO[bytes]] = {}

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, key: Key) -> bool:
        return _packed(key) in self._positions

    def __getitem__(self, key: Key) -> Entry:
        shard, offset = divmod(self._positions[_packed(key)], 1 << _OFFSET_BITS)
        reader = self._readers.get(shard)
        if reader is None:
            reader = self._readers[shard] = self._shards[shard].open("rb")
        reader.seek(offset)
        return Entry.from_line(reader.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, entry: Entry) -> None:
        """Add an entry."""
        if self._file.tell() >= self._shard_bytes:
            self._begin_shard()
        offset = self._file.tell()
        self._write(entry.to_line(), offset)
        self._dirty = True
        self._note(entry, len(self._shards) - 1, offset)
        self.sync_if_due()

    def _write(self, line: bytes, offset: int) -> None:
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:  # of a full disk; what follows must begin a line of its own
            self._file.truncate(offset)
            raise

    def sync_if_due(self) -> None:
        """Have all entries on disk, if some are not and the last time is seconds ago."""
        if self._dirty and time.monotonic() - self._synced_at >= _SYNC_SECONDS:
            self._sync()

    def close(self) -> None:
        """Have all entries on disk, and let others write."""
        self._sync()
        for file in (self._file, *self._readers.values()):
            file.close()
        self._lock.release()

    def _sync(self) -> None:
        self._dirty = False
        os.fsync(self._file.fileno())
        self._synced_at = time.monotonic()

    def _take_lock(self) -> None:
        try:
            self._lock.acquire()
        except Timeout:
            raise TransientError(f"{self._folder}: another attempt is still writing there") from None

    def _load(self, number: int, path: Path) -> None:
        offset = 0
        for line in _whole_lines(path):
            try:
                self._note(Entry.from_line(line), number, offset)
            except (ValueError, LookupError, TypeError) as error:
                raise InputError(
                    f"{path}: the line at byte {offset} is no entry ({error}): remove that line; it is asked again"
                ) from None
            offset += len(line)

    def _note(self, entry: Entry, shard: int, offset: int) -> None:
        self.spent += entry.usage
        if entry.answer is not None:
            self._positions[_packed(entry.key)] = (shard << _OFFSET_BITS) + offset

    def _begin_shard(self) -> None:
        self._sync()
        self._file.close()
        self._shards.append(self._new_shard(len(self._shards)))
        self._file = self._shards[-1].open("ab", buffering=0)

    def _new_shard(self, number: int) -> Path:
        path = self._folder / f"answers-{number:05}.jsonl"
        path.touch()
        sync_folder(self._folder)
        return path


def _packed(key: Key) -> bytes:
    return bytes.fromhex(key.prompt) + key.sample.to_bytes(4)


def _whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of a shard. A torn last one is mended where only its end is missing, else it is taken out and told."""
    with path.open("r+b") as file:
        size = 0
        for line in file:
            if not line.endswith(b"\n"):
                if not _is_entry(line):
                    print(
                        f"{path}: a kill has torn the last line ({len(line)} bytes): it is asked again", file=sys.stderr
                    )
                    file.truncate(size)
                    return
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
                line += b"\n"
            size += len(line)
            yield line


def _is_entry(line: bytes) -> bool:
    try:
        Entry.from_line(line)
    except (ValueError, LookupError, TypeError):
        return False
    return True
