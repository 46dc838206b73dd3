"""Spec -> stages: what each one needs, does and is known by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from branchmerge.api.compute import Resources
from branchmerge.api.evaluation import EvaluatedModels, Evaluation
from branchmerge.api.merge import STUDENT, MergeStep
from branchmerge.api.resource import MERGED, Branch, DistillationJob
from branchmerge.api.stage import (
    EvaluateTask,
    InputsTask,
    InputToResolve,
    MergeTask,
    ModelRef,
    ReplaySource,
    ReportTask,
    StageKind,
    StageResult,
    Task,
    TrainTask,
)
from branchmerge.api.support import unsupported
from branchmerge.core.curation import counts_tokens, curate_task
from branchmerge.core.fingerprint import Ingredients, fingerprint
from branchmerge.core.ingredients import (
    Identity,
    curate_ingredients,
    evaluate_ingredients,
    inputs_ingredients,
    merge_ingredients,
    report_ingredients,
    train_ingredients,
)
from branchmerge.core.inputs import Pins, inputs_of, pins_of, source_name, suite_name, template_name
from branchmerge.core.model import Graph, Stage, StageKey
from branchmerge.core.naming import output_folder


def build_graph(job: DistillationJob, pins: Pins | None, results: Mapping[StageKey, StageResult]) -> Graph:
    """All stages of the job, as far as they are certain.

    `pins` says what inputs were resolved to; None has a stage find that out, and nothing else is certain before.
    `results` says which stages are done: a branch's training is certain once the rows that its curation makes are.
    The spec must have been checked with `api.support.unsupported`.
    """
    refused = unsupported(job.spec)
    assert not refused, f"must be refused before it comes here: {'; '.join(refused)}"
    builder = _Builder(job, pins, results)
    if pins is None:
        builder.add_inputs()
    for branch in job.spec.branches:
        builder.add_curation(branch)
    for branch in job.spec.branches:
        builder.add_training(branch)
    for step in job.spec.merge.recipe or ():
        builder.add_merge(step)
    if job.spec.evaluation is not None:
        for model in builder.evaluated(job.spec.evaluation):
            builder.add_evaluation(job.spec.evaluation, model)
    builder.add_report()
    return Graph(tuple(builder.stages.values()), builder.pins)


@dataclass(frozen=True, slots=True)
class _Model:
    """A model by the name that people read, and the stage that makes it; none makes the student."""

    title: str
    maker: str | None


class _Builder:
    """The stages so far. Each `add_…` relies on those before it."""

    def __init__(self, job: DistillationJob, pins: Pins | None, results: Mapping[StageKey, StageResult]) -> None:
        self.stages: dict[str, Stage] = {}
        self.pins = pins or {}
        self._resolved = pins is not None
        self._job = job.metadata.name
        self._uid = job.metadata.uid or ""
        self._spec = job.spec
        self._results = results
        self._inputs = {ref.name: ref for ref in inputs_of(job.spec)}
        self._first: tuple[str, ...] = ()
        """What everything needs that reads an input."""

    def add_inputs(self) -> None:
        """`inputs`, which finds out what the names of inputs stand for now."""
        refs = list(self._inputs.values())
        name = str(StageKind.INPUTS)
        self._add(
            StageKind.INPUTS,
            None,
            needs=(),
            resources=Resources(),
            ingredients=inputs_ingredients(refs, self._uid),
            task=lambda: InputsTask(
                inputs=[
                    InputToResolve(kind=ref.kind, location=ref.location, revision=ref.revision, field=ref.name)
                    for ref in refs
                ]
            ),
        )
        self._first = (name,)
        result = self._result(name)
        if result is not None:
            self.pins, self._resolved = pins_of(refs, result.pins), True

    def add_curation(self, branch: Branch) -> None:
        """`curate/<branch>`. Its task names the commits that Hub data sets were resolved to."""
        refs = [self._inputs[source_name(branch.name, index)] for index in range(len(branch.data.sources))]
        teacher = self._spec.teacher_of(branch)
        self._add(
            StageKind.CURATE,
            branch.name,
            needs=self._first,
            resources=branch.data.resources or Resources(),
            ingredients=curate_ingredients(
                branch.data,
                [ref.identity(self.pins) for ref in refs],
                teacher,
                self._suites() if branch.data.decontaminate is not None else {},
                self._student_identity() if counts_tokens(branch.data) else None,
            )
            if self._resolved
            else None,
            task=lambda: curate_task(
                self._job, branch, refs, self.pins, teacher, self._spec.evaluation, self._student()
            ),
        )

    def add_training(self, branch: Branch) -> None:
        """`train/<branch>`, certain once its own rows and those that it replays are there."""
        training = self._spec.training_of(branch)
        replayed = branch.replay.from_ if branch.replay else []
        rows = {name: self._digest(f"curate/{name}") for name in (branch.name, *replayed)}
        known = {name: digest for name, digest in rows.items() if digest is not None}
        ingredients = None
        if len(known) == len(rows):
            ingredients = train_ingredients(
                self._student_identity(),
                training,
                self._identity(template_name(branch.name)),
                known.pop(branch.name),
                branch.replay,
                known,
            )
        self._add(
            StageKind.TRAIN,
            branch.name,
            needs=tuple(f"curate/{name}" for name in rows),
            resources=self._spec.resources_of(branch),
            ingredients=ingredients,
            task=lambda: TrainTask(
                branch=branch.name,
                student=self._student(),
                rows=self._output(f"curate/{branch.name}"),
                training=training,
                replay=branch.replay,
                replay_sources=[ReplaySource(branch=name, rows=self._output(f"curate/{name}")) for name in replayed],
            ),
        )

    def add_merge(self, step: MergeStep) -> None:
        """`merge/<step>`, one for each step of the recipe."""
        merge = self._spec.merge
        models = {name: self._recipe_model(name) for name in step.inputs}
        needs = tuple(model.maker for model in models.values() if model.maker is not None)
        upstream = self._upstream(needs)
        self._add(
            StageKind.MERGE,
            step.name,
            needs=needs,
            resources=merge.resources or Resources(),
            ingredients=None
            if upstream is None
            else merge_ingredients(merge, step, self._student_identity(), upstream),
            task=lambda: MergeTask(
                step=step,
                models={name: self._ref(model) for name, model in models.items()},
                student=self._student(),
                dtype=merge.dtype,
                out_dtype=merge.out_dtype,
                shard_bytes=merge.shard_bytes,
                seed=merge.seed,
            ),
        )

    def evaluated(self, evaluation: Evaluation) -> list[_Model]:
        """The models that face the suites: student, specialists, merged."""
        groups: dict[EvaluatedModels, list[_Model]] = {
            EvaluatedModels.STUDENT: [_Model(STUDENT, None)],
            EvaluatedModels.SPECIALISTS: [self._recipe_model(branch.name) for branch in self._spec.branches],
            EvaluatedModels.MERGED: [self._merged()],
        }
        return [model for group, models in groups.items() if group in evaluation.models for model in models]

    def add_evaluation(self, evaluation: Evaluation, model: _Model) -> None:
        """`evaluate/student`, `evaluate/specialist/<branch>` or `evaluate/merged`."""
        needs = self._first if model.maker is None else (model.maker,)
        upstream = self._upstream(needs)
        suites = self._suites()
        self._add(
            StageKind.EVALUATE,
            model.title,
            needs=needs,
            resources=evaluation.resources or Resources(),
            ingredients=None
            if upstream is None
            else evaluate_ingredients(
                evaluation, suites, self._student_identity() if model.maker is None else None, upstream
            ),
            task=lambda: EvaluateTask(
                model=self._ref(model), suites=evaluation.suites, engine=evaluation.engine, seed=evaluation.seed
            ),
        )

    def add_report(self) -> None:
        """`report`, which needs everything. Its accounts are filled in when an attempt starts."""
        needs = tuple(self.stages)
        upstream = self._upstream(needs)
        evaluation = self._spec.evaluation
        suites, gates = (evaluation.suites, evaluation.gates) if evaluation else ([], [])
        self._add(
            StageKind.REPORT,
            None,
            needs=needs,
            resources=Resources(),
            ingredients=None if upstream is None else report_ingredients(suites, gates, upstream),
            task=lambda: ReportTask(
                student=self._student(),
                merged=self._ref(self._merged()),
                curate=self._outputs(StageKind.CURATE),
                train=self._outputs(StageKind.TRAIN),
                merge=self._outputs(StageKind.MERGE),
                evaluate=self._outputs(StageKind.EVALUATE),
                suites=suites,
                gates=gates,
                spec=self._spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"pod_template"}),
            ),
        )

    def _add(
        self,
        kind: StageKind,
        what: str | None,
        *,
        needs: tuple[str, ...],
        resources: Resources,
        ingredients: Ingredients | None,
        task: Callable[[], Task],
    ) -> None:
        name = str(kind) if what is None else f"{kind}/{what}"
        stage = Stage(name, kind, needs, resources)
        if ingredients is not None:
            known_by = fingerprint(ingredients)
            stage = Stage(name, kind, needs, resources, known_by, ingredients, output_folder(name, known_by), task())
        self.stages[name] = stage

    def _suites(self) -> dict[str, Identity]:
        """What stands for the questions of each suite."""
        suites = self._spec.evaluation.suites if self._spec.evaluation else []
        return {
            suite.name: self._identity(suite_name(suite.name)) or {"builtin": str(suite.builtin)} for suite in suites
        }

    def _student_identity(self) -> Identity:
        return self._inputs[STUDENT].identity(self.pins)

    def _identity(self, name: str) -> Identity | None:
        return self._inputs[name].identity(self.pins) if name in self._inputs else None

    def _digest(self, name: str) -> str | None:
        """Content digest of a stage's output, once it is there."""
        result = self._result(name)
        return None if result is None else result.digest

    def _result(self, name: str) -> StageResult | None:
        """What a stage has found, once it is done."""
        key = self.stages[name].key
        return None if key is None else self._results.get(key)

    def _upstream(self, names: tuple[str, ...]) -> dict[str, str] | None:
        """Fingerprints of these stages, or None while one of them is not certain.

        What inputs are is told by what they are, not by the stage that found it out.
        """
        if not self._resolved:
            return None
        made = [name for name in names if name not in self._first]
        known = {name: known_by for name in made if (known_by := self.stages[name].fingerprint) is not None}
        return known if len(known) == len(made) else None

    def _recipe_model(self, name: str) -> _Model:
        """The model that a recipe calls by this name."""
        if name == STUDENT:
            return _Model(STUDENT, None)
        if f"train/{name}" in self.stages:
            return _Model(f"specialist/{name}", f"train/{name}")
        return _Model(f"merge/{name}", f"merge/{name}")

    def _merged(self) -> _Model:
        assert self._spec.merge.recipe is not None, "checked by build_graph"
        return _Model(MERGED, f"merge/{self._spec.merge.recipe[-1].name}")

    def _ref(self, model: _Model) -> ModelRef:
        return self._student() if model.maker is None else ModelRef(name=model.title, output=self._output(model.maker))

    def _student(self) -> ModelRef:
        student = self._inputs[STUDENT]
        return ModelRef(name=STUDENT, model=student.location, revision=student.commit(self.pins))

    def _output(self, name: str) -> str:
        output = self.stages[name].output
        assert output is not None, f"{name} is used before it is certain"
        return output

    def _outputs(self, kind: StageKind) -> dict[str, str]:
        """What comes after the kind in a stage's name -> output folder, for all stages of the kind."""
        prefix = f"{kind}/"
        return {name.removeprefix(prefix): self._output(name) for name in self.stages if name.startswith(prefix)}
