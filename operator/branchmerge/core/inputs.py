"""What a job reads from outside: the student, data sets, files. Their names are mutable; pins say what they were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from branchmerge.api.data import Source
from branchmerge.api.resource import Spec

_SHA256_LENGTH = 64

Pins = Mapping[str, str]
"""Input name -> what it was resolved to: a bare commit on the Hub, or a content digest `sha256:<hex>`."""


@dataclass(frozen=True, slots=True)
class InputRef:
    """One input, to be resolved to a commit or a content digest by whoever can read it."""

    name: str
    """Key in `Observation.pins`: `student`, `branches/<branch>/sources/<index>`, `branches/<branch>/chatTemplate`
    or `suites/<suite>`."""
    kind: Literal["model", "dataset", "file"]
    """`model`: Hub id, folder or URI. `dataset`: Hub id. `file`: path or URI."""
    location: str
    """As the user wrote it."""
    revision: str | None = None
    """Branch, tag or commit; None for files."""

    def identity(self, pins: Pins) -> dict[str, str]:
        """The ingredient that stands for the input: its pin, or where there is none its location and revision."""
        if self.name in pins:
            return {"content": pins[self.name]}
        revision = {} if self.revision is None else {"revision": self.revision}
        return {"location": self.location, **revision}

    def commit(self, pins: Pins) -> str | None:
        """The revision to load: the pinned commit, else what the user wrote. None where the pin is a content digest."""
        pin = pins.get(self.name)
        if pin is None:
            return self.revision
        return None if ":" in pin else pin


def pins_of(refs: Sequence[InputRef], resolved: Sequence[str | None]) -> dict[str, str]:
    """Pins from what the stage `inputs` says of these inputs; see `StageResult.pins`."""
    found = zip(refs, resolved, strict=True)
    return {ref.name: f"sha256:{text}" if len(text) == _SHA256_LENGTH else text for ref, text in found if text}


def inputs_of(spec: Spec) -> tuple[InputRef, ...]:
    """Everything that the job reads from outside, in the order of the spec. Names are unique."""
    return (InputRef("student", "model", spec.student.model, spec.student.revision), *_data(spec), *_suites(spec))


def source_name(branch: str, index: int) -> str:
    """Name of the input that is a branch's source."""
    return f"branches/{branch}/sources/{index}"


def template_name(branch: str) -> str:
    """Name of the input that is a branch's own chat template."""
    return f"branches/{branch}/chatTemplate"


def suite_name(suite: str) -> str:
    """Name of the input that is a suite's questions."""
    return f"suites/{suite}"


def _data(spec: Spec) -> Iterator[InputRef]:
    for branch in spec.branches:
        for index, source in enumerate(branch.data.sources):
            yield _source(source_name(branch.name, index), source)
        template = spec.training_of(branch).chat_template.training
        if "/" in template or "." in template:  # neither `student` nor the name of a template of the trainer's
            yield InputRef(template_name(branch.name), "file", template)


def _suites(spec: Spec) -> Iterator[InputRef]:
    for suite in spec.evaluation.suites if spec.evaluation else ():
        if suite.path is not None:
            yield InputRef(suite_name(suite.name), "file", suite.path)


def _source(name: str, source: Source) -> InputRef:
    dataset = source.hub_dataset
    if dataset is not None:
        return InputRef(name, "dataset", dataset.repo, dataset.revision)
    assert source.file is not None, "validated: a source is a data set or a path"
    return InputRef(name, "file", source.file)
