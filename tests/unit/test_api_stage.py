"""The contract between who starts an attempt and the trainer: nothing gets lost on the way, and messages fit."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branchmerge.api.resource import DistillationJob
from branchmerge.api.stage import (
    OUTCOME_BYTES,
    CurateTask,
    Difference,
    EvaluateTask,
    GateResult,
    MergeTask,
    ModelRef,
    Outcome,
    ReportTask,
    Score,
    StageAccount,
    StageConfig,
    StageResult,
    Task,
    TrainTask,
)
from builders import make_document, make_gate_result, make_result, make_score

SPEC = DistillationJob.model_validate(
    make_document(
        {
            "spec.branches.2.training": {"epochs": 2, "optimizer": {"betas": [0.9, 0.99]}},
            "spec.merge.recipe.0": {
                "name": "math-science",
                "method": "ties",
                "base": "student",
                "models": ["math", "science"],
                "weights": [1, 0.5],
                "parameters": {"density": 0.5, "normalize": True},
            },
        }
    )
).spec
STUDENT = ModelRef(name="student", model="models/student", revision="a" * 40)


def tasks() -> dict[str, Task]:
    assert SPEC.merge.recipe is not None
    assert SPEC.evaluation is not None
    science = SPEC.branches[2]
    return {
        "curate/science": CurateTask(branch="science", data=science.data, revisions={"acme/science@main": "b" * 40}),
        "train/science": TrainTask(
            branch="science",
            student=STUDENT,
            rows="stages/curate/science/0",
            training=SPEC.training_of(science),
            replay=science.replay,
        ),
        "merge/math-science": MergeTask(
            step=SPEC.merge.recipe[0],
            models={"math": ModelRef(name="specialist/math", output="stages/train/math/0")},
            student=STUDENT,
            dtype=SPEC.merge.dtype,
            out_dtype=SPEC.merge.out_dtype,
            shard_bytes=SPEC.merge.shard_bytes,
            seed=SPEC.merge.seed,
        ),
        "evaluate/student": EvaluateTask(
            model=STUDENT, suites=SPEC.evaluation.suites, engine=SPEC.evaluation.engine, seed=1
        ),
        "report": ReportTask(
            student=STUDENT,
            merged=ModelRef(name="merged", output="stages/merge/final/0"),
            curate={"math": "stages/curate/math/0"},
            train={},
            merge={},
            evaluate={},
            gates=SPEC.evaluation.gates,
            spec={"student": {"model": "models/student"}},
            accounts=[StageAccount(stage="train/math", fingerprint="f", attempts=2, seconds=1.5, gpu_hours=0.25)],
        ),
    }


@pytest.mark.parametrize("stage", tasks())
def test_a_config_is_read_as_it_was_written(stage: str) -> None:
    config = StageConfig(
        job="tiny",
        stage=stage,
        fingerprint="f" * 64,
        attempt=1,
        output=f"stages/{stage}/ffff",
        ingredients={"epochs": 2.0, "rows": ["a"]},
        task=tasks()[stage],
    )
    assert StageConfig.model_validate_json(config.to_json()) == config


def test_a_reader_ignores_what_a_newer_writer_adds() -> None:
    written = json.loads(make_result("report", "f" * 64).to_json()) | {"carbon": 3.5}
    assert StageResult.model_validate(written) == make_result("report", "f" * 64)


@pytest.mark.parametrize("figure", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_no_number_is_still_valid_json(figure: float) -> None:
    result = make_result("train/math", "f" * 64, figures={"loss": figure})
    read = StageResult.model_validate(json.loads(result.to_json(), parse_constant=pytest.fail))
    assert read.figures["loss"] == pytest.approx(figure, nan_ok=True)


TEXT = st.text(max_size=3000)
NAME = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
COUNT = st.integers(1, 10**6)
FIGURE = st.floats(-1, 1, allow_nan=False)


def results() -> st.SearchStrategy[StageResult]:
    """Results of any size within the bounds of the API: 32 branches, suites and gates."""
    interval = st.tuples(FIGURE, FIGURE)
    return st.builds(
        StageResult,
        stage=NAME.map(lambda name: f"evaluate/specialist/{name}"),
        fingerprint=st.just("f" * 64),
        digest=st.just("sha256:" + "d" * 64),
        started_at=st.just(datetime(2025, 3, 1, tzinfo=UTC)),
        finished_at=st.just(datetime(2025, 3, 1, 0, 0, 0, 1, tzinfo=UTC)),
        figures=st.dictionaries(NAME, st.floats(), max_size=60),
        dropped=st.dictionaries(NAME, st.integers(0, 10**9), max_size=60),
        scores=st.lists(
            st.builds(
                Score, suite=NAME, metric=st.just("pass@1"), value=FIGURE, ci95=interval, n=st.integers(1, 10**6)
            ),
            max_size=32,
        ),
        differences=st.lists(
            st.builds(Difference, model=NAME, baseline=NAME, suite=NAME, value=FIGURE, ci95=interval), max_size=100
        ),
        gates=st.lists(
            st.builds(GateResult, suite=NAME, passed=st.booleans(), bound=st.just("PointEstimate"), message=TEXT),
            max_size=32,
        ),
        verdict=st.none() | TEXT,
        versions=st.dictionaries(NAME, NAME, max_size=60),
    )


@settings(deadline=None)
@given(
    outcome=st.builds(
        Outcome,
        exit_code=st.integers(0, 255),
        reason=st.sampled_from(["Completed", "InvalidInput", "OutOfMemory"]),
        message=TEXT,
        result=st.none() | results(),
    )
)
def test_every_outcome_fits_a_termination_message(outcome: Outcome) -> None:
    written = outcome.to_bytes()
    read = Outcome.model_validate_json(written)
    assert len(written) <= OUTCOME_BYTES
    assert (read.exit_code, read.reason) == (outcome.exit_code, outcome.reason)
    assert outcome.message.startswith(read.message)
    if outcome.result is not None:
        assert read.result is not None
        assert (read.result.stage, read.result.digest) == (outcome.result.stage, outcome.result.digest)
        assert [(gate.suite, gate.passed) for gate in read.result.gates] == [
            (gate.suite, gate.passed) for gate in outcome.result.gates
        ]


def outcome_of(**fields: Any) -> Outcome:
    return Outcome(exit_code=0, reason="Completed", result=make_result("evaluate/merged", "f" * 64, **fields))


def test_what_fits_is_written_whole() -> None:
    outcome = outcome_of(scores=[make_score(value=0.123456789)], versions={"torch": "2.13.0"})
    assert Outcome.model_validate_json(outcome.to_bytes()) == outcome


def test_scores_and_gates_outlive_everything_else() -> None:
    suites = [f"a-suite-of-the-house-{number}" for number in range(12)]
    outcome = outcome_of(
        scores=[make_score(suite, value=1 / 3) for suite in suites],
        differences=[
            Difference(model=f"specialist/{name}", baseline="student", suite=name, value=1 / 3, ci95=(0.1, 0.2))
            for name in suites * 4
        ],
        gates=[make_gate_result(suite) for suite in suites],
        figures={f"figure-{number}": number / 7 for number in range(40)},
        versions={f"library-{number}": "1.2.3" for number in range(40)},
    )
    read = Outcome.model_validate_json(outcome.to_bytes()).result
    assert read is not None
    assert [(score.suite, score.value) for score in read.scores] == [(suite, 0.3333) for suite in suites]
    assert [gate.suite for gate in read.gates] == suites
    assert (read.versions, read.differences, read.figures) == ({}, [], {})
