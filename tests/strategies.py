"""Random jobs that are valid, and random edits that keep them so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from branchmerge.api.resource import DistillationJob

Edit = Callable[[DistillationJob], DistillationJob]

_BRANCHES = ("coding", "math", "science")
_GROUPS = ("student", "specialists", "merged")


@st.composite
def jobs(draw: st.DrawFn) -> DistillationJob:
    """Jobs of one to three branches with any recipe, replay, evaluation, budgets and policies."""
    names = draw(st.lists(st.sampled_from(_BRANCHES), min_size=1, unique=True))
    spec: dict[str, Any] = {
        "student": {"model": "models/student"},
        "branches": [draw(_branch(name, names)) for name in names],
        "merge": {"recipe": draw(_recipe(names)), "seed": draw(st.integers(0, 1))},
        "retry": draw(_retry),
        "failurePolicy": draw(st.sampled_from(["FailFast", "Continue"])),
    }
    optional = {
        "evaluation": draw(st.none() | _evaluation()),
        "deadlineSeconds": draw(st.none() | st.integers(50, 5000)),
    }
    spec |= {field: value for field, value in optional.items() if value is not None}
    return DistillationJob.model_validate(
        {
            "apiVersion": "branchmerge.dev/v1alpha1",
            "kind": "DistillationJob",
            "metadata": {"name": "any", "generation": draw(st.integers(1, 9))},
            "spec": spec,
        }
    )


@st.composite
def edits(draw: st.DrawFn) -> dict[str, Any]:
    """What a user edits, as `builders.edited` takes it; every job has at least one branch and one step."""
    return draw(
        st.fixed_dictionaries(
            {},
            optional={
                "training.learningRate": st.sampled_from([1e-5, 2e-5]),
                "branches.0.data.limits": _limits,
                "branches.0.training": st.fixed_dictionaries({"seed": st.integers(0, 1)}),
                "merge.seed": st.integers(0, 1),
                "retry": _retry,
                "failurePolicy": st.sampled_from(["FailFast", "Continue"]),
                "resources": st.fixed_dictionaries({"nodes": st.sampled_from([1, 2, 4])}),
                "deadlineSeconds": st.integers(50, 5000),
            },
        )
    )


_limits = st.fixed_dictionaries({"maxRows": st.integers(1, 2)})

_retry = st.fixed_dictionaries(
    {
        "failures": st.integers(0, 2),
        "disruptions": st.integers(0, 2),
        "backoffSeconds": st.integers(0, 40),
        "maxBackoffSeconds": st.integers(0, 60),
    }
)


@st.composite
def _branch(draw: st.DrawFn, name: str, names: list[str]) -> dict[str, Any]:
    branch: dict[str, Any] = {"name": name, "data": {"sources": [{"path": f"data/{name}.jsonl"}]}}
    if draw(st.booleans()):
        branch["data"]["limits"] = draw(_limits)
    if draw(st.booleans()):
        branch["training"] = {"epochs": draw(st.integers(1, 3))}
    others = [other for other in names if other != name]
    if others and draw(st.booleans()):
        sources = draw(st.lists(st.sampled_from(others), min_size=1, unique=True))
        branch["replay"] = {"fraction": 0.25, "from": sources}
    return branch


@st.composite
def _recipe(draw: st.DrawFn, names: list[str]) -> list[dict[str, Any]]:
    known = ["student", *names]
    steps = []
    for index in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from([f"step-{index}", f"merged-{index}"]))
        model = st.sampled_from(known)
        if draw(st.booleans()):
            base, other = draw(st.permutations(known))[:2]
            step = {"method": "arcee_fusion", "base": base, "models": [other]}
        else:
            step = {"method": "linear", "models": draw(st.lists(model, min_size=1, max_size=3, unique=True))}
        steps.append({"name": name, **step})
        known.append(name)
    return steps


@st.composite
def _evaluation(draw: st.DrawFn) -> dict[str, Any]:
    groups = draw(st.lists(st.sampled_from(_GROUPS), min_size=1, unique=True))
    evaluation: dict[str, Any] = {
        "models": groups,
        "suites": [{"name": "house", "path": "eval/house.jsonl", "method": "exact", "samples": 1}],
    }
    if {"student", "merged"} <= set(groups) and draw(st.booleans()):
        evaluation["gates"] = [{"suite": "house", "minGain": "0.1"}]
    return evaluation
