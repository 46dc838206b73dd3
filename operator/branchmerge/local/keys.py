"""API keys of teachers and judges on this machine: from the person's environment to the one process that needs them.

What is the key `api-key` of the Secret `teacher` on a cluster is the variable `TEACHER_API_KEY` here. No other process
of an attempt gets it, under any name, and nothing writes it down.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from branchmerge.api.objects import SecretKeyRef
from branchmerge.api.resource import Spec
from branchmerge.api.stage import StageKind, Task
from branchmerge.core.keys import keys_of
from branchmerge.local.fields import key_fields

_NO_LETTER = re.compile(r"[^A-Z0-9]")


def variable_of(key: SecretKeyRef) -> str:
    """Environment variable that holds a key: Secret and key in capitals, `_` for all that is neither letter nor digit.

    A name that would begin with a digit, which no shell can set, gets an `_` in front.
    """
    name = _NO_LETTER.sub("_", f"{key.name}_{key.key}".upper())
    return f"_{name}" if name[0].isdigit() else name


def key_problems(spec: Spec, missing: Collection[str], environ: Mapping[str, str]) -> Iterator[str]:
    """A line for each key that is not there, of the curations among `missing`, the stages that have no output yet."""
    told = set()
    for branch, where, key in key_fields(spec):
        variable = variable_of(key)
        if f"{StageKind.CURATE}/{branch}" in missing and not environ.get(variable) and where not in told:
            told.add(where)
            yield f"{where}: {key.name}/{key.key}: the environment has no {variable}: set it to the API key"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one job, in the environment that holds them."""

    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    variables: frozenset[str] = frozenset()
    """Names by which the environment holds them."""

    @classmethod
    def of(cls, spec: Spec, environ: Mapping[str, str]) -> Keys:
        """The keys that the spec names."""
        return cls(environ, frozenset(variable_of(key) for _, _, key in key_fields(spec)))

    def without(self, environ: Mapping[str, str]) -> dict[str, str]:
        """An environment without any of them."""
        return {name: value for name, value in environ.items() if name not in self.variables}

    def of_task(self, task: Task) -> dict[str, str]:
        """What the process of a stage gets, as far as it is there: by the names of the contract."""
        found = {name: self.environ.get(variable_of(key)) for name, key in keys_of(task).items()}
        return {name: value for name, value in found.items() if value}
