"""From a file to what a command works on: the job, its folder, and its inputs as they are now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from branchmerge.api.resource import DistillationJob
from branchmerge.core.graph import build_graph
from branchmerge.core.inputs import inputs_of
from branchmerge.local.fields import input_fields
from branchmerge.local.files import refusal
from branchmerge.local.jobfile import JobFile, load_job
from branchmerge.local.layout import RunFolder
from branchmerge.local.locations import local_path
from branchmerge.local.models import ModelFacts, model_facts
from branchmerge.local.pins import ByteListener, PinResolver
from branchmerge.local.preflight import input_problems
from branchmerge.local.problems import JobInputError, lines_of


@dataclass(frozen=True, slots=True)
class Opening:
    """A job's file and its folder on this machine."""

    file: JobFile
    folder: RunFolder

    @property
    def job(self) -> DistillationJob:
        """The job as the file has it."""
        return self.file.job

    @classmethod
    def of(cls, path: Path, workspace: Path | None) -> Opening:
        """Read the file. Raises JobInputError."""
        file = load_job(path)
        return cls(file, RunFolder.of(file.job, workspace))

    def check_inputs(self, *, may_be_elsewhere: bool = False) -> None:
        """Look at the files that the job names; see `input_problems`. Raises JobInputError with a line a mistake."""
        if problems := input_problems(self.file, may_be_elsewhere=may_be_elsewhere):
            raise JobInputError(problems)

    def resolve(self, listener: ByteListener | None = None) -> dict[str, str]:
        """What every input is at this moment. What was found out is kept where the run folder can be written.

        Raises JobInputError with a line for each input that is not there.
        """
        resolver = PinResolver(self.folder.pins, self.file.inputs, input_fields(self.job.spec), listener)
        try:
            pins = resolver.resolve(inputs_of(self.job.spec))
        except JobInputError as error:
            raise JobInputError(self.file.place(lines_of(error))) from None
        if self.folder.root.is_dir():
            try:
                resolver.save()
            except OSError as error:
                if refusal(error) is None:
                    raise
        return pins

    def student_facts(self) -> ModelFacts | None:
        """The size of the student, None where it is not a folder of this machine."""
        folder = local_path(self.job.spec.student.model, self.file.inputs)
        return None if folder is None else model_facts(folder)

    def stage_names(self) -> list[str]:
        """Names of all stages, in the order of the pipeline."""
        return [stage.name for stage in build_graph(self.job, {}, {}).stages]
