"""Everything about a job that can be known to be wrong before anything is started."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from branchmerge.api.errors import InputError
from branchmerge.api.evaluation import EvaluatedModels
from branchmerge.api.resource import Spec
from branchmerge.api.training import ChatTemplate
from branchmerge.core.inputs import inputs_of
from branchmerge.local.fields import STUDENT_FIELD, input_fields, resources_of, source_field, suite_field
from branchmerge.local.files import write_atomic
from branchmerge.local.jobfile import JobFile
from branchmerge.local.locations import is_uri, local_path, may_be_hub_id
from branchmerge.local.machine import Machine
from branchmerge.local.models import model_problems
from branchmerge.local.rows import data_problem, suite_problem

_TRAINER = "branchmerge_trainer"
_TRAINER_NEEDS = ("torch", "transformers")
_PROBE_FILE = "probe"


def input_problems(file: JobFile, *, may_be_elsewhere: bool = False) -> list[str]:
    """Mistakes in the files that the job names, as far as they can be seen quickly. Each names field, file and fix.

    `may_be_elsewhere`: a path that is not on this machine may be one of a cluster's volume.
    """
    spec = file.job.spec
    problems = [
        *([] if may_be_elsewhere else _missing_files(spec, file.inputs)),
        *_student_problems(spec, file.inputs),
        *_data_problems(spec, file.inputs),
        *_suite_problems(spec, file.inputs),
    ]
    return file.place(problems)


def machine_problems(file: JobFile, machine: Machine) -> list[str]:
    """What the job asks for and this machine does not have."""
    problems = []
    for field, resources in resources_of(file.job.spec):
        if resources.gpus > len(machine.gpus):
            problems.append(
                f"{field}.gpusPerNode: {resources.nodes} x {resources.gpus_per_node} GPUs, but this machine has "
                f"{len(machine.gpus)}: set gpusPerNode to 0 to compute on the CPU, or run the job on a cluster"
            )
    return file.place(problems)


def trainer_problem() -> str | None:
    """One line where the part that trains is not installed."""
    missing = [name for name in (_TRAINER, *_TRAINER_NEEDS) if find_spec(name) is None]
    if not missing:
        return None
    return f"{', '.join(missing)}: not installed, and nothing trains without: pip install 'branchmerge[trainer]'"


def prepare_folder(folder: Path) -> None:
    """Make the run folder and see that it takes a file. Raises OSError that names what refuses, or InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:  # its parents are there by now, but this file system takes no folders
        raise InputError(f"{folder}: no folder can be made here: choose another one with --workspace") from None
    probe = folder / _PROBE_FILE
    write_atomic(probe, "x" * 65536)
    probe.unlink()


def _missing_files(spec: Spec, inputs: Path) -> Iterator[str]:
    fields = input_fields(spec)
    for ref in inputs_of(spec):
        is_path = ref.kind == "file" or (ref.kind == "model" and not may_be_hub_id(ref.location))
        if is_path and not is_uri(ref.location) and local_path(ref.location, inputs) is None:
            yield f"{fields[ref.name]}: {ref.location!r} is not there: correct it; relative paths start from {inputs}"


def _student_problems(spec: Spec, inputs: Path) -> Iterator[str]:
    folder = local_path(spec.student.model, inputs)
    if folder is None:
        return
    default = ChatTemplate().training
    trained = any(spec.training_of(branch).chat_template.training == default for branch in spec.branches)
    evaluated = spec.evaluation is not None and EvaluatedModels.STUDENT in spec.evaluation.models
    for problem in model_problems(folder, needs_template=trained or evaluated):
        yield f"{STUDENT_FIELD}: {problem}"


def _data_problems(spec: Spec, inputs: Path) -> Iterator[str]:
    for number, branch in enumerate(spec.branches):
        for index, source in enumerate(branch.data.sources):
            path = None if source.file is None else local_path(source.file, inputs)
            problem = None if path is None else data_problem(path, source, branch.data.verify)
            if problem:
                yield f"{source_field(number, index)}: {problem}"


def _suite_problems(spec: Spec, inputs: Path) -> Iterator[str]:
    for index, suite in enumerate(spec.evaluation.suites if spec.evaluation else ()):
        path = None if suite.path is None else local_path(suite.path, inputs)
        problem = None if path is None else suite_problem(path, suite)
        if problem:
            yield f"{suite_field(index)}.path: {problem}"
