"""What a cluster or a team wants of the pods of every stage. No part of any fingerprint.

A bounded part of Kubernetes' pod template: what stages compute is the spec's business, where they run is the pool's,
how they are secured is the operator's. Names that the operator itself puts on its pods are refused.
"""

from __future__ import annotations

import re
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, field_validator, model_validator

from branchmerge.api.base import ENV_NAME, LABEL_VALUE, Rule, SpecModel, cel, list_map, refuse_duplicates
from branchmerge.api.objects import ConfigMapKeyRef, ObjectName, SecretKeyRef, SecretRef
from branchmerge.api.volumes import Volume, VolumeMount

_RESERVED_ENV = r"^(BRANCHMERGE_|KUBEFLOW_TRAINER_|PET_|(MASTER_ADDR|MASTER_PORT|RANK|WORLD_SIZE|PATH|PYTHONPATH)$)"
_FREE_ENV = Rule(f"!self.matches('{_RESERVED_ENV}')", "set by the operator or the image: remove it")

_DOMAIN_LENGTH = 253
_KEY = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
_KEY_HINT = "a name such as team or example.com/team"
_RESERVED_KEY = r"^(branchmerge\.dev/|training\.kubeflow\.org/|batch\.kubernetes\.io/|app\.kubernetes\.io/managed-by$)"
_RESERVED_LABEL = r"^kueue\.x-k8s\.io/"


def _is_free_env(name: str) -> str:
    if re.match(_RESERVED_ENV, name):
        raise ValueError(f"{name!r} is {_FREE_ENV.message}")
    return name


def _are_keys(keys: dict[str, str]) -> dict[str, str]:
    """What is asked of the keys of labels and annotations alike."""
    for key in keys:
        if not re.fullmatch(_KEY, key) or len(key.rpartition("/")[0]) > _DOMAIN_LENGTH:
            raise ValueError(f"{key!r} does not fit: use {_KEY_HINT}")
        if re.match(_RESERVED_KEY, key):
            raise ValueError(f"{key!r} is set by the operator or a controller: remove it")
    return keys


def _are_labels(labels: dict[str, str]) -> dict[str, str]:
    for key in labels:
        if re.match(_RESERVED_LABEL, key):
            raise ValueError(f"{key!r} queues pods one by one: put it among the labels of the job itself")
    return labels


_FREE_KEYS = (
    Rule(f"self.all(key, key.matches(r'{_KEY}'))", f"a key does not fit: use {_KEY_HINT}"),
    Rule(
        f"!self.exists(key, key.matches(r'{_RESERVED_KEY}'))", "a key is set by the operator or a controller: remove it"
    ),
)
_FREE_LABELS = Rule(
    f"!self.exists(key, key.matches(r'{_RESERVED_LABEL}'))",
    "Kueue's labels queue pods one by one: put them among the labels of the job itself",
)

Labels = Annotated[
    dict[str, Annotated[str, StringConstraints(max_length=63, pattern=LABEL_VALUE)]],
    Field(max_length=32),
    AfterValidator(_are_keys),
    AfterValidator(_are_labels),
]
Annotations = Annotated[
    dict[str, Annotated[str, StringConstraints(max_length=4096)]], Field(max_length=32), AfterValidator(_are_keys)
]

_ONE_ORIGIN = Rule(
    "has(self.secretKeyRef) != has(self.configMapKeyRef)", "set exactly one of secretKeyRef and configMapKeyRef"
)
_ONE_VALUE = Rule("has(self.value) != has(self.valueFrom)", "set exactly one of value and valueFrom")


class EnvSource(SpecModel):
    """Where the value of an environment variable is kept."""

    model_config = ConfigDict(json_schema_extra=cel(_ONE_ORIGIN))

    secret_key_ref: SecretKeyRef | None = Field(None, description="A key of a Secret.")
    config_map_key_ref: ConfigMapKeyRef | None = Field(None, description="A key of a ConfigMap.")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.secret_key_ref is None) == (self.config_map_key_ref is None):
            raise ValueError(_ONE_ORIGIN.message)
        return self


class EnvVar(SpecModel):
    """An environment variable of every stage."""

    model_config = ConfigDict(json_schema_extra=cel(_ONE_VALUE))

    name: Annotated[
        str, StringConstraints(min_length=1, max_length=128, pattern=ENV_NAME), AfterValidator(_is_free_env)
    ] = Field(description="Name, such as `HF_TOKEN` or `NCCL_IB_HCA`.", json_schema_extra=cel(_FREE_ENV))
    value: Annotated[str, StringConstraints(max_length=4096)] | None = Field(
        None, description="The value; no place for a secret."
    )
    value_from: EnvSource | None = Field(None, description="Where the value is kept.")

    @model_validator(mode="after")
    def _one_value(self) -> Self:
        if (self.value is None) == (self.value_from is None):
            raise ValueError(_ONE_VALUE.message)
        return self


_VOLUME_IS_THERE = Rule(
    "!has(self.volumeMounts)"
    " || self.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name))",
    "a mount names no volume: use the name of one of podTemplate.volumes",
    ".volumeMounts",
)

_Named = TypeVar("_Named", EnvVar, Volume, SecretRef)


class PodTemplate(SpecModel):
    """What the pods of every stage have besides the operator's own. Changes hold for attempts that start later."""

    model_config = ConfigDict(json_schema_extra=cel(_VOLUME_IS_THERE))

    labels: Labels = Field(
        default_factory=dict,
        description="More labels of the pods. Kueue's belong on the job itself.",
        json_schema_extra=cel(*_FREE_KEYS, _FREE_LABELS),
    )
    annotations: Annotations = Field(
        default_factory=dict,
        description="Annotations of the pods, such as those for networks or topology.",
        json_schema_extra=cel(*_FREE_KEYS),
    )
    env: Annotated[list[EnvVar], Field(max_length=64)] = Field(
        default_factory=list,
        description="Environment variables of the stages, such as credentials or NCCL's settings.",
        json_schema_extra=list_map("name"),
    )
    volumes: Annotated[list[Volume], Field(max_length=32)] = Field(
        default_factory=list, description="Volumes besides the workspace.", json_schema_extra=list_map("name")
    )
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=32)] = Field(
        default_factory=list, description="Where stages see these volumes.", json_schema_extra=list_map("mountPath")
    )
    image_pull_secrets: Annotated[list[SecretRef], Field(max_length=16)] = Field(
        default_factory=list,
        description="Credentials for the trainer's image, besides the administrator's.",
        json_schema_extra=list_map("name"),
    )
    service_account_name: ObjectName | None = Field(
        None, description="Identity of the pods, such as for a cloud's storage. Default: the namespace's `default`."
    )
    priority_class_name: ObjectName | None = Field(
        None, description="PriorityClass of the pods. Default: the cluster's."
    )
    scheduler_name: ObjectName | None = Field(
        None, description="Scheduler that places the pods. Default: the cluster's."
    )

    @field_validator("env", "volumes", "image_pull_secrets")
    @classmethod
    def _names_of_their_own(cls, entries: list[_Named]) -> list[_Named]:
        refuse_duplicates((entry.name for entry in entries), "remove one")
        return entries

    @field_validator("volume_mounts")
    @classmethod
    def _paths_of_their_own(cls, mounts: list[VolumeMount]) -> list[VolumeMount]:
        refuse_duplicates((mount.mount_path for mount in mounts), "mount one of them elsewhere")
        return mounts

    @model_validator(mode="after")
    def _volumes_are_there(self) -> Self:
        known = {volume.name for volume in self.volumes}
        for index, mount in enumerate(self.volume_mounts):
            if mount.name not in known:
                raise ValueError(f"volumeMounts[{index}].name: {mount.name!r}: {_VOLUME_IS_THERE.message}")
        return self
