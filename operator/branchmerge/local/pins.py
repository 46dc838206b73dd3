"""What the inputs of a job are at this moment: content digests of local files, commits of Hub repositories."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from pydantic import Field

from branchmerge.api.base import RecordModel
from branchmerge.api.content import content_digest, content_files
from branchmerge.api.errors import InputError
from branchmerge.core.inputs import InputRef
from branchmerge.local.files import read_record, write_atomic
from branchmerge.local.hub import commit_of
from branchmerge.local.locations import is_uri, local_path, may_be_hub_id
from branchmerge.local.problems import JobInputError

_CHUNK_BYTES = 1 << 22

ByteListener = Callable[[str, int, int], None]
"""(name of the input, bytes read, bytes in all)."""


class FileDigest(RecordModel):
    """A file's digest, good as long as the rest is as it was."""

    size: int
    mtime_ns: int
    inode: int
    sha256: str


class PinCache(RecordModel):
    """What need not be found out again."""

    files: dict[str, FileDigest] = Field(default_factory=dict, description="Absolute path -> digest.")
    commits: dict[str, str] = Field(
        default_factory=dict, description="`kind repository@revision` -> commit. A mutable name is resolved once."
    )


class PinResolver:
    """Resolves inputs, with a cache in the run folder.

    `fields`: name of an input -> field of the spec, for messages.
    """

    def __init__(
        self, cache_file: Path, inputs: Path, fields: Mapping[str, str], listener: ByteListener | None = None
    ) -> None:
        self._file = cache_file
        self._inputs = inputs
        self._fields = fields
        self._listener = listener or (lambda name, done, total: None)
        self._old = read_record(cache_file, PinCache) or PinCache()
        self._new = PinCache()

    def resolve(self, refs: Iterable[InputRef]) -> dict[str, str]:
        """Pin by name of the input. URIs have none: they count by their location.

        Raises JobInputError with a line for each input that is not there.
        """
        pins, problems = {}, []
        for ref in refs:
            try:
                pin = self._pin(ref)
            except InputError as error:
                problems.append(str(error))
            else:
                if pin is not None:
                    pins[ref.name] = pin
        if problems:
            raise JobInputError(list(dict.fromkeys(problems)))
        return pins

    def save(self) -> None:
        """Keep what was found out. Inputs that are no longer named are forgotten."""
        if self._new != self._old:
            write_atomic(self._file, self._new.model_dump_json(indent=2))

    def _pin(self, ref: InputRef) -> str | None:
        path = None if ref.kind == "dataset" else local_path(ref.location, self._inputs)
        if path is not None:
            return f"sha256:{self._digest(ref.name, path)}"
        if is_uri(ref.location):
            return None
        field = self._fields[ref.name]
        if ref.kind == "file" or (ref.kind == "model" and not may_be_hub_id(ref.location)):
            raise InputError(
                f"{field}: {ref.location!r} is not there: correct it; relative paths start from {self._inputs}"
            )
        revision = ref.revision or "main"
        key = f"{ref.kind} {ref.location}@{revision}"
        commit = self._old.commits.get(key) or commit_of(
            "dataset" if ref.kind == "dataset" else "model", ref.location, revision, field
        )
        self._new.commits[key] = commit
        return commit

    def _digest(self, name: str, path: Path) -> str:
        files = content_files(path)
        total = sum(file.stat().st_size for file in files)
        done = 0
        digests = {}
        for file in files:
            for count in self._read(file):
                done += count
                self._listener(name, done, total)
            digests[file] = self._new.files[str(file.absolute())].sha256
        return content_digest(path, digests)

    def _read(self, file: Path) -> Iterator[int]:
        """Digest a file unless that is known; yields counts of bytes as they are done."""
        key, stat = str(file.absolute()), file.stat()
        known = self._new.files.get(key) or self._old.files.get(key)
        if known and (known.size, known.mtime_ns, known.inode) == (stat.st_size, stat.st_mtime_ns, stat.st_ino):
            self._new.files[key] = known
            yield stat.st_size
            return
        digest = hashlib.sha256()
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
                yield len(chunk)
        self._new.files[key] = FileDigest(
            size=stat.st_size, mtime_ns=stat.st_mtime_ns, inode=stat.st_ino, sha256=digest.hexdigest()
        )
