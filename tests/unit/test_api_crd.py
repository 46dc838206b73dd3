"""The definition that Kubernetes gets: in sync with the models, structural, bounded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml as pyyaml
from pydantic import BaseModel, Field, create_model
from ruamel.yaml import YAML

from branchmerge.api.base import Choice, Rule, cel, list_map
from branchmerge.api.crd import custom_resource_definition, object_schema
from branchmerge.api.structural import SchemaError, structural
from branchmerge.cli import crd, generated

ROOT = Path(__file__).parents[2]


class Colour(Choice):
    """A colour."""

    RED = "red"
    BLUE = "blue"


class Below(BaseModel):
    """What lies below."""

    model_config = {"json_schema_extra": cel(Rule("self.colour != 'red'", "red is taken: use blue"))}

    colour: Colour = Colour.RED


def schema_of(annotation: Any, **field: Any) -> dict[str, Any]:
    """Structural schema of a model's one field."""
    model = create_model("Model", field=(annotation, Field(**field)))
    return structural(model.model_json_schema())["properties"]["field"]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        pytest.param(
            Annotated[float, Field(gt=0, lt=1)],
            {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1, "exclusiveMaximum": True},
            id="exclusive bounds are booleans",
        ),
        pytest.param(Literal["only"], {"type": "string", "enum": ["only"]}, id="a constant is a choice of one"),
        pytest.param(Colour, {"type": "string", "enum": ["red", "blue"], "description": "A colour."}, id="a choice"),
        pytest.param(
            Annotated[str, Field(max_length=9)] | None, {"type": "string", "maxLength": 9}, id="null is no type"
        ),
        pytest.param(Annotated[int, Field(le=5)], {"type": "integer", "format": "int32", "maximum": 5}, id="int32"),
        pytest.param(int, {"type": "integer", "format": "int64"}, id="int64"),
        pytest.param(
            Annotated[list[int], Field(max_length=2)],
            {"type": "array", "maxItems": 2, "items": {"type": "integer", "format": "int64"}},
            id="a list",
        ),
        pytest.param(
            Annotated[dict[str, bool], Field(max_length=2)],
            {"type": "object", "maxProperties": 2, "additionalProperties": {"type": "boolean"}},
            id="a map of one type",
        ),
        pytest.param(
            Below,
            {
                "description": "What lies below.",
                "type": "object",
                "properties": {"colour": {"description": "A colour.", "type": "string", "enum": ["red", "blue"]}},
                "x-kubernetes-validations": [{"rule": "self.colour != 'red'", "message": "red is taken: use blue"}],
            },
            id="a model is inlined",
        ),
    ],
)
def test_conversion(annotation: Any, expected: dict[str, Any]) -> None:
    assert schema_of(annotation) == expected


def test_a_field_adds_to_the_model_that_it_refers_to() -> None:
    more = cel(Rule("has(self.colour)", "colourless: add a colour"))
    found = schema_of(Below | None, default=None, description="Of this field.", json_schema_extra=more)
    assert found["description"] == "Of this field."
    assert [rule["message"] for rule in found["x-kubernetes-validations"]] == [
        "red is taken: use blue",
        "colourless: add a colour",
    ]


@pytest.mark.parametrize(
    ("annotation", "problem"),
    [
        pytest.param(
            tuple[float, float],
            ".field: a structural schema has no keyword 'prefixItems'",
            id="a tuple",
        ),
        pytest.param(
            Annotated[float | bool, Field()], ".field: a structural schema has no keyword 'anyOf'", id="a union"
        ),
        pytest.param(
            Annotated[list[Annotated[int, Field(multiple_of=2)]], Field(max_length=3)],
            ".field[]: a structural schema has no keyword 'multipleOf' (value 2)",
            id="a keyword within a list",
        ),
        pytest.param(str, ".field: needs maxLength", id="a string without a bound"),
        pytest.param(list[int], ".field: needs maxItems", id="a list without a bound"),
        pytest.param(dict[str, int], ".field: needs maxProperties", id="a map without a bound"),
        pytest.param(dict[str, Any], ".field: a map of anything is not pruned", id="a map of anything"),
    ],
)
def test_what_no_structural_schema_can_say_fails_with_its_path(annotation: Any, problem: str) -> None:
    with pytest.raises(SchemaError) as caught:
        schema_of(annotation)
    assert str(caught.value).startswith(problem)


def test_names_and_columns() -> None:
    spec = custom_resource_definition()["spec"]
    version = spec["versions"][0]
    assert spec["names"]["shortNames"] == ["dj", "distill"]
    assert (spec["group"], spec["names"]["plural"], version["name"]) == (
        "branchmerge.dev",
        "distillationjobs",
        "v1alpha1",
    )
    assert version["subresources"] == {"status": {}}
    assert [column["name"] for column in version["additionalPrinterColumns"]] == [
        "Phase",
        "Progress",
        "Branches",
        "Score",
        "GPU-Hours",
        "Age",
    ]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from nodes(schema[keyword], f"{path}[]")


def test_what_is_printed_is_in_the_status() -> None:
    known = {path for path, _ in nodes(object_schema())}
    version = custom_resource_definition()["spec"]["versions"][0]
    shown = {column["jsonPath"] for column in [*version["additionalPrinterColumns"], *version["selectableFields"]]}
    assert shown - known == {".metadata.creationTimestamp"}


def test_every_field_is_described() -> None:
    silent = [
        path
        for path, schema in nodes(object_schema())
        if not path.endswith("[]") and not path.startswith(".metadata") and "description" not in schema
    ]
    assert silent == []


def test_lists_that_several_writers_share_are_merged_by_key() -> None:
    keys = {path: schema.get("x-kubernetes-list-map-keys") for path, schema in nodes(object_schema())}
    assert keys[".spec.branches"] == ["name"]
    assert keys[".status.stages"] == ["name"]
    assert keys[".status.conditions"] == ["type"]
    assert keys[".status.scores"] == ["model", "suite", "metric"]
    assert list_map("name")["x-kubernetes-list-type"] == "map"


def test_the_file_says_what_the_models_say_to_readers_of_both_versions_of_yaml() -> None:
    written = crd.render()
    assert YAML(typ="safe").load(written) == custom_resource_definition()
    assert pyyaml.safe_load(written) == custom_resource_definition(), "kubectl reads YAML 1.1"


def test_no_field_and_no_choice_is_a_switch_to_a_reader_of_yaml_1_1() -> None:
    """`n: 1` is `false: 1` to kubectl. (The status of a condition is written by programs, with its quotes.)"""
    switches = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
    for path, schema in nodes(object_schema()):
        words = {*schema.get("properties", {}), *schema.get("enum", [])}
        assert path == ".status.conditions[].status" or not {word.lower() for word in words} & switches, path


def test_the_file_is_in_sync_with_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert generated.main(crd.PATH, crd.render, crd.REMAKE, ["--check"]) == 0


def test_a_stale_file_is_told_with_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "crds" / "crd.yaml"
    assert generated.main(crd.PATH, crd.render, crd.REMAKE, [str(path)]) == 0
    assert generated.main(crd.PATH, crd.render, crd.REMAKE, ["--check", str(path)]) == 0
    path.write_text(path.read_text().replace("maxItems: 32", "maxItems: 16", 1))
    assert generated.main(crd.PATH, crd.render, crd.REMAKE, ["--check", str(path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"{path}: out of date: run `make crds`\n")
    assert "maxItems: 16\n+" in told


def test_a_missing_file_is_out_of_date(tmp_path: Path) -> None:
    assert generated.main(crd.PATH, crd.render, crd.REMAKE, ["--check", str(tmp_path / "none.yaml")]) == 1
