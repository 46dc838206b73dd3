"""Reads a job from its YAML file, and says of every mistake on which line it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from branchmerge.api.errors import InputError, explain
from branchmerge.api.resource import DistillationJob
from branchmerge.api.support import unsupported
from branchmerge.local.problems import JobInputError

_FIELD = re.compile(r"(?:apiVersion|kind|metadata|spec)(?:\.\w+|\[\d+\])*")
_PART = re.compile(r"(\w+)|\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class JobFile:
    """A job and the file that it comes from."""

    path: Path
    job: DistillationJob
    document: CommentedMap

    @property
    def inputs(self) -> Path:
        """Where relative paths in the file start from: its folder."""
        return self.path.absolute().parent

    def place(self, problems: Sequence[str]) -> list[str]:
        """Problems with file and line in front, as far as they name a field."""
        return [_placed(problem, self.path, self.document) for problem in problems]


def load_job(path: Path) -> JobFile:
    """Read and check a job's file. Raises JobInputError with a line for each mistake."""
    document = _parse(path)
    try:
        job = DistillationJob.model_validate(_plain(document))
    except ValidationError as error:
        problems = explain(error, DistillationJob)
        raise JobInputError([_placed(problem, path, document) for problem in problems]) from None
    file = JobFile(path, job, document)
    if refused := unsupported(job.spec):
        raise JobInputError(file.place(refused))
    return file


def _parse(path: Path) -> CommentedMap:
    try:
        documents = list(YAML(typ="rt").load_all(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file: name the YAML file of a DistillationJob") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder: name the YAML file of a DistillationJob") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = str(error.problem or error.context).partition("\n")[0]
        raise InputError(f"{path}{line}: no valid YAML: {problem}: correct this line or the one before") from None
    except YAMLError as error:
        raise InputError(f"{path}: no valid YAML: {error}") from None
    if not documents or documents == [None]:
        raise InputError(f"{path}: is empty: write a DistillationJob into it")
    if len(documents) != 1:
        raise InputError(f"{path}: holds {len(documents)} YAML documents: keep one DistillationJob a file")
    if not isinstance(documents[0], CommentedMap):
        raise InputError(f"{path}: holds no mapping: begin with `apiVersion: branchmerge.dev/v1alpha1`")
    return documents[0]


def _plain(value: Any) -> Any:
    """The document without the loader's own types. A date is what a user wrote as text, such as a revision."""
    match value:
        case CommentedMap():
            return {str(key): _plain(below) for key, below in value.items()}
        case CommentedSeq():
            return [_plain(below) for below in value]
        case bool() | None:
            return value
        case int():
            return int(value)
        case float():
            return float(value)
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _placed(problem: str, path: Path, document: CommentedMap) -> str:
    field = _FIELD.search(problem)
    line = _line_of(field[0], document) if field else None
    return f"{path}: {problem}" if line is None else f"{path}:{line}: {problem}"


def _line_of(field: str, document: CommentedMap) -> int | None:
    """Line, from 1, of the deepest part of the field that is in the document."""
    node: Any = document
    line = None
    for name, index in _PART.findall(field):
        if isinstance(node, CommentedMap) and name in node:
            key: Any = name
            position = node.lc.data.get(name) if node.lc.data else None
        elif isinstance(node, CommentedSeq) and index and int(index) < len(node):
            key = int(index)
            position = node.lc.data.get(key) if node.lc.data else None
        else:
            break
        line = line if position is None else position[0] + 1
        node = node[key]
    return line
