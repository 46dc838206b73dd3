"""The reference is in sync with the models, and what it says of defaults is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from branchmerge.api.base import SpecModel
from branchmerge.api.resource import DistillationJob
from branchmerge.cli import apidocs, generated

ROOT = Path(__file__).parents[2]


def all_subclasses(model: type[SpecModel]) -> Iterator[type[SpecModel]]:
    for subclass in model.__subclasses__():
        yield subclass
        yield from all_subclasses(subclass)


def fields() -> Iterator[tuple[str, FieldInfo]]:
    """Every field of a user's spec that is not required and has a scalar or list as default."""
    for model in all_subclasses(SpecModel):
        if not model.__module__.startswith("branchmerge.api."):
            continue  # settings of the operator, where another test has loaded them
        for name, field in model.model_fields.items():
            if not field.is_required() and field.default_factory is None and field.default is not None:
                yield f"{model.__name__}.{field.alias or name}", field


def stated_default(description: str) -> Any:
    found = re.search(r"Default:? `?(.+?)`?\.$", description)
    return YAML(typ="safe").load(found[1]) if found else None


@pytest.mark.parametrize("field", [pytest.param(field, id=name) for name, field in fields()])
def test_a_description_states_the_default(field: FieldInfo) -> None:
    """The schema itself has no defaults, since they would show up in every object of a user."""
    stated = stated_default(field.description or "")
    assert stated == field.default or (stated == "all" and isinstance(field.default, list))


def test_the_file_is_in_sync_with_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert generated.main(apidocs.PATH, apidocs.render, apidocs.REMAKE, ["--check"]) == 0


def test_every_object_has_a_section_and_every_link_leads_to_one() -> None:
    written = apidocs.render()
    sections = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", written, re.MULTILINE)}
    links = set(re.findall(r"\]\(#([^)]+)\)", written))
    objects = {name for name, schema in DistillationJob.model_json_schema()["$defs"].items() if "properties" in schema}
    assert links <= sections
    assert {name.lower() for name in objects - {"Metadata"}} <= sections


def test_a_field_is_told_with_type_default_and_unit() -> None:
    row = "| `backoffSeconds` | whole number ≥ 0 | 30 | Wait after the first failure, in seconds; it doubles with each"
    assert row in apidocs.render()


def test_no_field_is_told_without_words() -> None:
    assert [line for line in apidocs.render().splitlines() if line.startswith("| `") and line.endswith("|  |")] == [
        "| `arcee_fusion` | required | 1 | no |  |"
    ]
