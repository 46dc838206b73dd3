"""Volumes of a pod: the kinds that the *restricted* Pod Security Standard allows and that stages have a use for."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from branchmerge.api.base import (
    ABSOLUTE_PATH,
    DNS_LABEL,
    RELATIVE_PATH,
    Choice,
    QuantityText,
    Rule,
    ShortText,
    SpecModel,
    cel,
)
from branchmerge.api.objects import ObjectName, PersistentVolumeClaimRef, SecretRef

_FREE_VOLUME = Rule("!(self in ['workspace', 'tmp', 'shm', 'token'])", "the operator's own: choose another name")
_RESERVED_MOUNT = r"^/(workspace|tmp|dev|proc|sys|run/secrets|var/run/secrets)(/|$)"
_FREE_MOUNT = Rule(f"!self.matches('{_RESERVED_MOUNT}')", "the operator's or the system's own: mount it elsewhere")
_ONE_KIND = Rule(
    "[has(self.persistentVolumeClaim), has(self.secret), has(self.configMap), has(self.emptyDir), has(self.csi)]"
    ".exists_one(given, given)",
    "set exactly one of persistentVolumeClaim, secret, configMap, emptyDir and csi",
)


def _is_free_volume(name: str) -> str:
    if name in ("workspace", "tmp", "shm", "token"):
        raise ValueError(f"{name!r} is {_FREE_VOLUME.message}")
    return name


def _is_free_mount(path: str) -> str:
    if re.match(_RESERVED_MOUNT, path):
        raise ValueError(f"{path!r} is {_FREE_MOUNT.message}")
    return path


VolumeName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DNS_LABEL)]


class ClaimVolume(PersistentVolumeClaimRef):
    """A PersistentVolumeClaim of the job's namespace."""

    read_only: bool = Field(False, description="Whether pods may only read it. Default false.")


class SecretVolume(SpecModel):
    """A file for each key of a Secret."""

    secret_name: ObjectName = Field(description="Name of the Secret.")


class ConfigMapVolume(SpecModel):
    """A file for each key of a ConfigMap."""

    name: ObjectName = Field(description="Name of the ConfigMap.")


class Medium(Choice):
    """What an empty volume lies on, besides the node's disk."""

    MEMORY = "Memory"


class EmptyVolume(SpecModel):
    """Space that begins empty and goes with the pod."""

    medium: Medium | None = Field(
        None, description="`Memory`: in RAM, which counts as the pod's memory. Default: the node's disk."
    )
    size_limit: QuantityText | None = Field(
        None, description="A pod that writes more is evicted, in bytes. Default: no limit."
    )


class CsiVolume(SpecModel):
    """A volume that a CSI driver makes for the pod, such as an object store's bucket or secrets of a vault."""

    driver: Annotated[str, StringConstraints(min_length=1, max_length=63)] = Field(
        description="Name of the driver, such as `gcsfuse.csi.storage.gke.io`."
    )
    read_only: bool = Field(False, description="Whether pods may only read it. Default false.")
    volume_attributes: Annotated[
        dict[str, Annotated[str, StringConstraints(max_length=1024)]], Field(max_length=32)
    ] = Field(default_factory=dict, description="What the driver wants to know.")
    node_publish_secret_ref: SecretRef | None = Field(None, description="The driver's credentials. Default: none.")


class Volume(SpecModel):
    """A volume that stages can mount."""

    model_config = ConfigDict(json_schema_extra=cel(_ONE_KIND))

    name: Annotated[VolumeName, AfterValidator(_is_free_volume)] = Field(
        description="Name that mounts refer to; `workspace`, `tmp`, `shm` and `token` are the operator's own.",
        json_schema_extra=cel(_FREE_VOLUME),
    )
    persistent_volume_claim: ClaimVolume | None = Field(None, description="A claim, such as one with models or data.")
    secret: SecretVolume | None = Field(None, description="The keys of a Secret as files.")
    config_map: ConfigMapVolume | None = Field(None, description="The keys of a ConfigMap as files.")
    empty_dir: EmptyVolume | None = Field(None, description="Space that goes with the pod.")
    csi: CsiVolume | None = Field(None, description="A volume that a CSI driver makes for the pod.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = (self.persistent_volume_claim, self.secret, self.config_map, self.empty_dir, self.csi)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError(_ONE_KIND.message)
        return self


class VolumeMount(SpecModel):
    """Where stages see a volume."""

    name: VolumeName = Field(description="Name of the volume.")
    mount_path: Annotated[
        str,
        StringConstraints(min_length=2, max_length=1024, pattern=ABSOLUTE_PATH),
        AfterValidator(_is_free_mount),
    ] = Field(
        description="Absolute path in the container, unique; not in `/workspace`, `/tmp`, `/dev`, `/proc`, `/sys` and "
        "`/run/secrets`.",
        json_schema_extra=cel(_FREE_MOUNT),
    )
    sub_path: Annotated[ShortText, StringConstraints(pattern=RELATIVE_PATH)] | None = Field(
        None, description="Folder or file of the volume. Default: all of it."
    )
    read_only: bool = Field(False, description="Whether stages may only read it. Default false.")
