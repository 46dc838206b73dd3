"""The CustomResourceDefinition of the `DistillationJob`, made from its model."""

from __future__ import annotations

from typing import Any

from branchmerge.api.resource import GROUP, JOB_NAME_LENGTH, KIND, PLURAL, VERSION, DistillationJob
from branchmerge.api.structural import Schema, structural

SHORT_NAMES = ("dj", "distill")

COLUMNS = (
    ("Phase", "string", ".status.phase", "Where the job stands, in one word."),
    ("Progress", "string", ".status.progress", "Share of the work that is done."),
    ("Branches", "string", ".status.branches", "Branches trained, of all."),
    ("Score", "string", ".status.score", "Mean score of the merged model over the Test suites."),
    ("GPU-Hours", "string", ".status.gpuHours", "Allocated accelerators x hours over all attempts."),
    ("Age", "date", ".metadata.creationTimestamp", "Time since the job was created."),
)
"""What `kubectl get` prints: name, type, JSON path, description."""

SELECTABLE = (".spec.suspend", ".status.phase")
"""What `kubectl get --field-selector` can ask for."""

_OBJECT_FIELDS: Schema = {
    "apiVersion": {"type": "string", "description": "Version of the schema that the object is written in."},
    "kind": {"type": "string", "description": "Kind of the object, in CamelCase."},
    "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": JOB_NAME_LENGTH}}},
}


def custom_resource_definition() -> dict[str, Any]:
    """The CRD, ready to be written as YAML. Raises SchemaError where a model cannot be expressed."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": list(SHORT_NAMES),
                "categories": ["all"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "description": description}
            for name, kind, path, description in COLUMNS
        ],
        "selectableFields": [{"jsonPath": path} for path in SELECTABLE],
        "schema": {"openAPIV3Schema": object_schema()},
    }


def object_schema() -> Schema:
    """The structural schema of a whole object; of metadata Kubernetes lets us say no more than a bound of the name."""
    generated = DistillationJob.model_json_schema()
    for field in _OBJECT_FIELDS:
        del generated["properties"][field]
    schema = structural({**generated, "required": ["spec"]})
    schema["properties"] = {**_OBJECT_FIELDS, **schema["properties"]}
    return schema
