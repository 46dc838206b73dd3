"""The chart's values.schema.json says the same as the models that the operator reads its settings with."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from branchmerge.kube.settings import LeaderElection, OperatorSettings, Pool
from deployment.rendering import CHART

Schema = dict[str, Any]
SCHEMA: Schema = json.loads((CHART / "values.schema.json").read_text())
POOL: Schema = Pool.model_json_schema()["properties"]
ELECTION: Schema = LeaderElection.model_json_schema()["properties"]
SETTINGS: Schema = OperatorSettings.model_json_schema()["properties"]

ORIGINS = {
    "pools": "pools",
    "defaultPool": "defaultPool",
    "trainerImage": "trainer.image",
    "imagePullPolicy": "trainer.image.pullPolicy",
    "imagePullSecrets": "imagePullSecrets",
    "watchNamespace": "watchNamespace",
    "runAsUser": "trainer.runAsUser",
    "fsGroup": "trainer.fsGroup",
    "sharedMemory": "trainer.sharedMemory",
    "progressUrl": "progress.enabled",
    "leaderElection": "leaderElection",
    "workers": "workers",
    "resyncSeconds": "resyncSeconds",
}
"""Setting of the operator -> the value that it is made of."""
VERBATIM = ("imagePullPolicy", "runAsUser", "fsGroup", "sharedMemory", "workers", "resyncSeconds")
TWINS: dict[str, Schema] = {
    **{f"pools.*.{name}": field for name, field in POOL.items()},
    **{f"leaderElection.{name}": field for name, field in ELECTION.items() if name != "leaseName"},
    **{ORIGINS[name]: SETTINGS[name] for name in VERBATIM},
}
"""Value -> what the operator asks of the setting that it becomes."""

KUBERNETES_OWN = {f".affinity.{kind}" for kind in ("nodeAffinity", "podAffinity", "podAntiAffinity")}
HELMS_OWN = {".global"}


@pytest.mark.parametrize("path", TWINS)
def test_a_value_may_be_what_the_operator_reads(path: str) -> None:
    value, setting = at(path), TWINS[path]
    assert asked(value) == asked(setting)
    assert setting.get("description", value["description"]) == value["description"]


def test_a_pool_has_the_fields_that_the_operator_reads() -> None:
    assert set(SCHEMA["definitions"]["pool"]["properties"]) == set(POOL)
    assert at("defaultPool")["properties"] == at("pools.*")["properties"]


def test_a_name_of_a_pool_is_what_the_operator_reads() -> None:
    (pattern,) = SETTINGS["pools"]["patternProperties"]
    assert resolved(at("pools")["propertyNames"])["pattern"] == pattern


def test_every_setting_is_made_of_a_value() -> None:
    assert set(ORIGINS) == set(SETTINGS)
    assert all(at(path) for path in ORIGINS.values())


def test_what_stands_beside_a_reference_is_a_note() -> None:
    """Draft 7 of JSON schema, which every helm 3 knows, ignores all that stands there."""
    beside = [set(node) - {"$ref", "description"} for node in nodes(SCHEMA) if "$ref" in node]
    assert beside == [set()] * len(beside)


def test_every_value_is_described() -> None:
    assert [path for path, node in values() if not node.get("description")] == []


def test_no_object_takes_what_it_does_not_know() -> None:
    objects = {path: node for path, node in values() if node.get("type") == "object"}
    assert {path for path, node in objects.items() if "additionalProperties" not in node} == KUBERNETES_OWN | HELMS_OWN


def test_every_value_has_a_default_where_users_look() -> None:
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    known = {path for path, _ in values() if not path.startswith((".pools.", ".defaultPool."))}
    assert {path for path in known if not is_in(defaults, path)} == KUBERNETES_OWN | HELMS_OWN


def test_the_readme_lists_what_a_pool_can_have() -> None:
    readme = (CHART / "README.md").read_text()
    for name, field in at("defaultPool")["properties"].items():
        assert f"| `{name}` | {field['description']} |" in readme


def at(path: str) -> Schema:
    """The schema of a value; `*` is any name."""
    node = SCHEMA
    for part in path.split("."):
        node = resolved(node["additionalProperties"] if part == "*" else node["properties"][part])
    return node


def values(node: Schema = SCHEMA, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every named value and its schema, from the top down."""
    for name, below in node.get("properties", {}).items():
        found = resolved(below)
        yield f"{path}.{name}", found
        yield from values(found, f"{path}.{name}")
    for keyword in ("additionalProperties", "items"):
        if isinstance(node.get(keyword), dict):
            yield from values(resolved(node[keyword]), f"{path}.*")


def nodes(node: Any) -> Iterator[Schema]:
    """Every mapping of the file."""
    if isinstance(node, dict):
        yield node
        for below in node.values():
            yield from nodes(below)


def resolved(node: Schema) -> Schema:
    """The node with what it refers to; what it says itself goes first."""
    if "$ref" not in node:
        return node
    return {**resolved(SCHEMA["definitions"][node["$ref"].rpartition("/")[2]]), **node}


def asked(node: Schema) -> Schema:
    """What a schema asks of a value, whichever way it is written. Null is left out: in a spec it means `not set`.

    What lies in a list is left out too: of tolerations the operator asks nothing, the chart and the API server do.
    """
    keywords = ("enum", "minimum", "maximum", "minLength", "maxLength", "pattern")
    found: Schema = {keyword: node[keyword] for keyword in keywords if keyword in node}
    types = node.get("type", [])
    found["type"] = {types} if isinstance(types, str) else set(types)
    for variant in map(asked, node.get("anyOf", ())):
        found = {**found, **variant, "type": found["type"] | variant["type"]}
    if isinstance(node.get("additionalProperties"), dict):
        found["values"] = asked(resolved(node["additionalProperties"]))
    found["type"] -= {"null"}
    return found


def is_in(found: Any, path: str) -> bool:
    """Whether a file of values has an entry at that path."""
    for part in path.strip(".").split("."):
        if part == "*":
            return True
        if not isinstance(found, dict) or part not in found:
            return False
        found = found[part]
    return True
