"""What everything was made from, and by which versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from branchmerge_trainer.report.facts import Facts

_SHORT = 16
"""Characters of a hash that the names of output folders have too."""


@dataclass(frozen=True)
class Input:
    """Something that came from outside."""

    what: str
    location: str
    """As the user wrote it."""
    identity: str
    """Commit or content digest, or what else stands for it."""


@dataclass(frozen=True)
class Made:
    """The output of a stage."""

    stage: str
    fingerprint: str
    digest: str
    finished_at: datetime


def short(digest: str) -> str:
    """Enough of a hash to find it."""
    return digest[:_SHORT]


def spec_digest(facts: Facts) -> str:
    """Digest (sha256, hex) of the spec as canonical JSON."""
    canonical = json.dumps(facts.task.spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def made(facts: Facts) -> list[Made]:
    """Every stage's output, in the order of the pipeline."""
    return [
        Made(name, stage.result.fingerprint, stage.result.digest, stage.result.finished_at)
        for name, stage in facts.stages
    ]


def inputs(facts: Facts) -> list[Input]:
    """The student, every branch's sources, and every suite."""
    return [*_student(facts), *_sources(facts), *_suites(facts)]


def versions(facts: Facts) -> dict[str, str]:
    """Library -> the version that made the outputs; several where stages were made by different ones."""
    found: dict[str, dict[str, None]] = {}
    for _, stage in facts.stages:
        for library, version in stage.result.versions.items():
            found.setdefault(library, {})[version] = None
    return {library: ", ".join(known) for library, known in found.items()}


def engine(facts: Facts) -> str | None:
    """What generated the answers, with its version; None where nothing was evaluated."""
    for stage in facts.evaluations.values():
        name = str(stage.ingredients.get("engine", ""))
        return f"{name} {stage.result.versions.get(name, '')}".strip()
    return None


def hub_datasets(facts: Facts) -> list[str]:
    """Hub ids of all data sets that rows came from, each once."""
    sources = (source for _, found in _spec_sources(facts) for source in found)
    repos = [repo for source in sources if (repo := _place(source).get("dataset", {}).get("repo"))]
    return list(dict.fromkeys(repos))


def _student(facts: Facts) -> Iterator[Input]:
    student = facts.task.student
    identity: Mapping[str, Any] = next((branch.training.ingredients["student"] for branch in facts.branches), {})
    revision = {"revision": student.revision} if student.revision else {}
    yield Input("student", str(student.model), _identity({**revision, **identity}))


def _sources(facts: Facts) -> Iterator[Input]:
    known = dict(_spec_sources(facts))
    for branch in facts.branches:
        locations = [_location(source) for source in known.get(branch.name, [])]
        for index, source in enumerate(branch.curation.ingredients["sources"]):
            location = locations[index] if index < len(locations) else str(source.get("location", ""))
            yield Input(f"rows of {branch.name}", location, _identity(source))


def _suites(facts: Facts) -> Iterator[Input]:
    measured: Mapping[str, Any] = next((stage.ingredients["suites"] for stage in facts.evaluations.values()), {})
    for suite in facts.task.suites:
        yield Input(f"suite {suite.name}", suite.path or str(suite.builtin), _identity(measured.get(suite.name, {})))


def _spec_sources(facts: Facts) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for branch in facts.task.spec.get("branches", []):
        yield branch["name"], branch["data"]["sources"]


def _location(source: Mapping[str, Any]) -> str:
    place = _place(source)
    if "dataset" in place:
        dataset = place["dataset"]
        return " ".join(str(dataset[key]) for key in ("repo", "config", "split") if key in dataset)
    return str(place.get("path", ""))


def _place(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where the rows or prompts of a source are."""
    place: Mapping[str, Any] = source.get("prompts") or source
    return place


def _identity(ingredient: Mapping[str, Any]) -> str:
    """The content digest or commit of an input; else the name of its revision."""
    content = str(ingredient.get("content", ""))
    return content or (f"revision {ingredient['revision']}" if "revision" in ingredient else "not pinned")
