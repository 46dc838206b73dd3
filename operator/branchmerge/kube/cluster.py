"""The only Kubernetes client: raw objects by kind, as dictionaries.

The official client's asyncio API brings connections, TLS and credentials. Objects stay dictionaries, so that a newer
API server's fields pass through and every kind is handled alike.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration

from branchmerge.api.resource import API_VERSION, PLURAL

FIELD_MANAGER = "branchmerge"
_REQUEST_SECONDS = 30
_SILENT_SECONDS = 15
"""An API server that has sent nothing of its answer for so long does not answer: a webhook of its may take 10."""
_WATCH_SECONDS = 300
"""The API server ends a watch after this long."""
_BOOKMARK_SECONDS = 75
"""A watch that is silent for so long is dead: each minute brings a bookmark."""

_TIMEOUT = aiohttp.ClientTimeout(total=_REQUEST_SECONDS, sock_connect=_SILENT_SECONDS, sock_read=_SILENT_SECONDS)

Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of namespaced object."""

    api_version: str
    plural: str

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Path of the object, or of the collection; without a namespace that of the whole cluster."""
        root = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        place = f"/namespaces/{namespace}" if namespace else ""
        return "/".join([root + place, self.plural, *(part for part in (name, subresource) if part)])


DISTILLATION_JOBS = Kind(API_VERSION, PLURAL)
JOBS = Kind("batch/v1", "jobs")
PODS = Kind("v1", "pods")
LEASES = Kind("coordination.k8s.io/v1", "leases")
EVENTS = Kind("events.k8s.io/v1", "events")
REFUSALS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY})
"""Answers that stay as they are when asked again at once: a namespace is full, or is being deleted, or forbids this."""


class ClusterError(Exception):
    """The API server refused, or did not answer."""

    def __init__(self, status: int, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.retry_after_seconds = retry_after_seconds


class NotFoundError(ClusterError):
    """There is no such object."""


class ConflictError(ClusterError):
    """The object exists already, or is not of the version that was read."""


class GoneError(ClusterError):
    """The version that a watch starts from is too old: list anew."""


_ERRORS: Mapping[int, type[ClusterError]] = {404: NotFoundError, 409: ConflictError, 410: GoneError}


class Cluster:
    """A connection to the API server. Use as an async context manager."""

    def __init__(self, configuration: Configuration, manager: str = FIELD_MANAGER) -> None:
        self._client = ApiClient(configuration)
        self._manager = manager
        self.calls: dict[tuple[str, str, int], int] = {}
        """(verb, kind, status) -> calls so far; for metrics."""

    @classmethod
    async def connect(cls, context: str | None = None, manager: str = FIELD_MANAGER) -> Self:
        """By the pod's service account, else by the kubeconfig (`context`: not the current one).

        `manager` is who the API server is told owns the fields that are written. Raises ConfigException.
        """
        configuration = Configuration()
        try:
            if context is not None:
                raise kube_config.ConfigException("a context was named")
            kube_config.load_incluster_config(client_configuration=configuration)
        except kube_config.ConfigException:
            await kube_config.load_kube_config(context=context, client_configuration=configuration)
        return cls(configuration, manager)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Raw:
        """One object. Raises NotFoundError."""
        return await self._call("GET", kind, kind.path(namespace, name))

    async def list(
        self, kind: Kind, namespace: str | None, labels: str | None = None, fields: str | None = None
    ) -> tuple[list[Raw], str]:
        """All objects that carry these labels and have these fields, page by page, and the version to watch from."""
        items: list[Raw] = []
        query: dict[str, str] = {"limit": "500"}
        query |= {"labelSelector": labels} if labels else {}
        query |= {"fieldSelector": fields} if fields else {}
        while True:
            page = await self._call("GET", kind, kind.path(namespace), query)
            items += [{"apiVersion": kind.api_version, **item} for item in page["items"]]
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return items, metadata["resourceVersion"]
            query["continue"] = metadata["continue"]

    async def create(self, kind: Kind, namespace: str, body: Raw) -> Raw:
        """Create an object. Raises ConflictError where it exists."""
        return await self._call("POST", kind, kind.path(namespace), {"fieldManager": self._manager}, body)

    async def replace(self, kind: Kind, body: Raw, subresource: str | None = None) -> Raw:
        """Replace an object of the version that was read. Raises ConflictError where it has changed since."""
        metadata = body["metadata"]
        path = kind.path(metadata.get("namespace"), metadata["name"], subresource)
        return await self._call("PUT", kind, path, {"fieldManager": self._manager}, body)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Raw) -> Raw:
        """Apply a JSON merge patch. Raises NotFoundError."""
        path = kind.path(namespace, name)
        return await self._call("PATCH", kind, path, {"fieldManager": self._manager}, patch)

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        grace_seconds: int | None = None,
        precondition: Mapping[str, str] | None = None,
    ) -> None:
        """Delete an object, and what it owns in the background. What is not there is deleted.

        `precondition`: the `uid` and `resourceVersion` that it must have. Raises ConflictError where it has others.
        """
        body: Raw = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        if precondition is not None:
            body["preconditions"] = dict(precondition)
        try:
            await self._call("DELETE", kind, kind.path(namespace, name), {}, body)
        except NotFoundError:
            return

    async def watch(
        self, kind: Kind, namespace: str | None, version: str, labels: str | None = None
    ) -> AsyncIterator[tuple[str, Raw]]:
        """Yield (type, object) since `version`, bookmarks too, until the server ends the watch. Raises GoneError."""
        query = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": version}
        query |= {"timeoutSeconds": str(_WATCH_SECONDS)} | ({"labelSelector": labels} if labels else {})
        timeout = aiohttp.ClientTimeout(sock_connect=_SILENT_SECONDS, sock_read=_BOOKMARK_SECONDS)
        response = await self._send("WATCH", kind, kind.path(namespace), query, None, timeout)
        try:
            async for line in _lines(response.content):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise _ERRORS.get(status["code"], ClusterError)(status["code"], status.get("message", ""))
                yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError) as error:
            raise ClusterError(0, f"watch of {kind.plural} broke: {error or type(error).__name__}") from error
        finally:
            response.close()

    async def read_log(self, namespace: str, pod: str, container: str, *, follow: bool = False) -> AsyncIterator[bytes]:
        """Yield what a container has printed, in pieces as they come; where it is followed, until it ends."""
        query = {"container": container} | ({"follow": "true"} if follow else {})
        timeout = aiohttp.ClientTimeout(sock_connect=_SILENT_SECONDS) if follow else _TIMEOUT
        response = await self._send("GET", PODS, PODS.path(namespace, pod, "log"), query, None, timeout)
        try:
            async for piece in response.content.iter_any():
                yield piece
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ClusterError(0, f"log of {pod} broke: {error or type(error).__name__}") from error
        finally:
            response.close()

    async def _call(
        self, method: str, kind: Kind, path: str, query: Mapping[str, str] | None = None, body: Raw | None = None
    ) -> Raw:
        response = await self._send(method, kind, path, query or {}, body, _TIMEOUT)
        try:
            answer: Raw = await response.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ClusterError(0, f"{method} {path}: {error}") from error
        return answer

    async def _send(
        self,
        verb: str,
        kind: Kind,
        path: str,
        query: Mapping[str, str],
        body: Raw | None,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        method = "GET" if verb == "WATCH" else verb
        url = f"{self._client.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "User-Agent": self._manager}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        try:
            answer = await self._client.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=timeout
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            self._count(verb, kind, 0)
            raise ClusterError(0, f"{verb} {path}: {error or type(error).__name__}") from error
        response: aiohttp.ClientResponse = answer.response
        self._count(verb, kind, response.status)
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise _error(response.status, await response.text(), response.headers.get("Retry-After"))
        return response

    def _count(self, verb: str, kind: Kind, status: int) -> None:
        key = (verb, kind.plural, status)
        self.calls[key] = self.calls.get(key, 0) + 1


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length; the reader's own may not be longer than its buffer, and an object is up to 3 MiB."""
    pieces: list[bytes] = []
    async for piece in content.iter_any():
        *whole, rest = piece.split(b"\n")
        for end in whole:
            yield b"".join([*pieces, end])
            pieces.clear()
        pieces.append(rest)


def _error(status: int, body: str, retry_after: str | None) -> ClusterError:
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body  # a proxy answered, not the API server
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    return _ERRORS.get(status, ClusterError)(status, message, seconds)
