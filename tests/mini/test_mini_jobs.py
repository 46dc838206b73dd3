"""The miniature's jobs fit what `make.py` makes, and differ in nothing but what they are to show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from miniature.domains import Domain, make_domains
from ruamel.yaml import YAML

from branchmerge.api.resource import DistillationJob
from branchmerge.api.support import unsupported

FOLDER = Path(__file__).parents[2] / "examples" / "mini"
JOBS = ["distillation", "task-arithmetic", "mixture", "selective", "unverified"]


def read(name: str) -> Any:
    return YAML(typ="safe").load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def domains() -> dict[str, Domain]:
    return make_domains(6)


@pytest.mark.parametrize("name", JOBS)
def test_is_valid_and_supported(name: str) -> None:
    assert unsupported(DistillationJob.model_validate(read(name)).spec) == []


def test_recipes_are_compared_on_the_same_specialists() -> None:
    fusion, arithmetic = read("distillation"), read("task-arithmetic")
    del fusion["metadata"]["name"], arithmetic["metadata"]["name"]
    assert fusion["spec"].pop("merge") != arithmetic["spec"].pop("merge")
    assert fusion == arithmetic


def test_verification_is_compared_on_the_same_questions_and_steps() -> None:
    verified, unverified = read("selective")["spec"], read("unverified")["spec"]
    for branch in verified["branches"]:
        assert branch["data"].pop("verify")
        assert branch["data"].pop("select")
    assert verified["teacher"]["sampling"].pop("samples") > unverified["teacher"]["sampling"].pop("samples") == 1
    assert verified["evaluation"].pop("gates")
    assert verified == unverified


def test_a_teacher_takes_the_place_of_the_data_and_of_nothing_else() -> None:
    prepared, asked = read("distillation")["spec"], read("selective")["spec"]
    assert asked.pop("teacher")
    for branch in (*prepared["branches"], *asked["branches"]):
        del branch["data"]
    assert prepared == asked


def test_the_control_has_the_data_the_steps_and_the_suites_of_all_branches() -> None:
    job = DistillationJob.model_validate(read("distillation")).spec
    control = DistillationJob.model_validate(read("mixture")).spec
    assert job.evaluation is not None
    assert control.evaluation is not None
    assert control.branches[0].data.sources == [source for branch in job.branches for source in branch.data.sources]
    assert control.training.max_steps == sum(job.training_of(branch).max_steps or 0 for branch in job.branches)
    assert control.evaluation.suites == job.evaluation.suites
    own = {"max_steps", "schedule"}
    assert control.training.model_dump(exclude=own) == job.training.model_dump(exclude=own)


@pytest.mark.parametrize("name", JOBS)
def test_nothing_is_too_long_for_it(name: str, domains: dict[str, Domain]) -> None:
    spec = DistillationJob.model_validate(read(name)).spec
    assert spec.evaluation is not None
    markers = len(["user", "end", "assistant", "think", "/think", "end"])
    for suite in spec.evaluation.suites:
        problems = domains[suite.name].train + domains[suite.name].suite
        answers = [len(problem.trace) + len(problem.answer) + len(["think", "/think", "end"]) for problem in problems]
        rows = [len(problem.prompt) + len(problem.trace) + len(problem.answer) + markers for problem in problems]
        assert max(answers) <= suite.generation.max_tokens
        assert max(rows) <= spec.training.sequence_length
