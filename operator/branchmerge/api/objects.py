"""Other objects of the job's namespace, by name. Only the reference is ever stored, never what they hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from branchmerge.api.base import DNS_SUBDOMAIN, ShortText, SpecModel

ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
"""The name of an object of Kubernetes (RFC 1123 subdomain)."""


class SecretRef(SpecModel):
    """A Secret of the job's namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class SecretKeyRef(SecretRef):
    """A key of a Secret in the job's namespace."""

    key: ShortText = Field(description="Key within the Secret.")


class ConfigMapKeyRef(SpecModel):
    """A key of a ConfigMap in the job's namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap.")
    key: ShortText = Field(description="Key within the ConfigMap.")


class PersistentVolumeClaimRef(SpecModel):
    """A PersistentVolumeClaim of the job's namespace."""

    claim_name: ObjectName = Field(description="Name of the claim.")
