"""Reads of an API server, over a connection that stays: a kubectl for each costs a tenth of a second of a busy core."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from kubernetes import config
from kubernetes.client import ApiClient
from urllib3.exceptions import HTTPError

from localcluster.errors import ClusterError

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
TIMEOUT_SECONDS = 30
Object = dict[str, Any]


class ReadError(ClusterError):
    """The API server could not be asked, or did not give what it was asked for."""

    def __init__(self, path: str, code: int | None, message: str) -> None:
        self.code = code
        super().__init__(f"GET {path}: {code or 'no answer'}: {message[:500]}")


@dataclass(frozen=True)
class Resource:
    """Where the API server keeps objects of a kind."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        """Of one object, or of all."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        place = f"{root}/namespaces/{quote(namespace)}" if self.namespaced else root
        return f"{place}/{self.plural}/{quote(name)}" if name else f"{place}/{self.plural}"


class Reader:
    """Reads as one user."""

    def __init__(self, kubeconfig: Path) -> None:
        self._client: ApiClient = config.new_client_from_config(config_file=str(kubeconfig))
        self._resources: dict[str, Resource] = {}

    def get(self, kind: str, name: str, namespace: str) -> Object:
        """One object; `kind` as kubectl takes it.

        Raises:
            ReadError: there is none, or it cannot be read now.
        """
        return self._json(self._resource(kind).path(namespace, name))

    def find(self, kinds: str, namespace: str, selector: str) -> list[Object]:
        """The objects of these kinds (with commas between them) that have those labels."""
        query = f"?{urlencode({'labelSelector': selector})}" if selector else ""
        return [
            {"apiVersion": resource.api_version, "kind": resource.kind, **item}
            for resource in map(self._resource, kinds.split(","))
            for item in self._json(resource.path(namespace) + query)["items"]
        ]

    def healthy(self) -> bool:
        """Whether the API server says that it is ready."""
        try:
            return self._read("/readyz") == b"ok"
        except ReadError:
            return False

    def _resource(self, kind: str) -> Resource:
        if kind not in self._resources:
            self._resources = {
                name: resource for prefix in ("/apis", "/api") for name, resource in self._discovered(prefix)
            }
        if kind not in self._resources:
            raise ReadError(f"of {kind}", HTTPStatus.NOT_FOUND, "no such kind")
        return self._resources[kind]

    def _discovered(self, prefix: str) -> Iterator[tuple[str, Resource]]:
        for group in self._json(prefix, DISCOVERY)["items"]:
            name = group["metadata"].get("name", "")
            version = group["versions"][0]
            for entry in version["resources"]:
                place = f"{name}/{version['version']}" if name else version["version"]
                kind, plural = entry["responseKind"]["kind"], entry["resource"]
                resource = Resource(place, kind, plural, entry["scope"] == "Namespaced")
                words = [plural, entry.get("singularResource", ""), *entry.get("shortNames", [])]
                yield from ((word, resource) for word in words if word)
                if name:
                    yield f"{plural}.{name}", resource

    def _json(self, path: str, accept: str = "application/json") -> Any:
        return self._client.deserialize(self._read(path, accept).decode(), "object", "application/json")

    def _read(self, path: str, accept: str = "*/*") -> bytes:
        headers: Mapping[str, str] = {"Accept": accept}
        url = self._client.configuration.host + path
        try:
            answer = self._client.call_api("GET", url, dict(headers), _request_timeout=TIMEOUT_SECONDS)
            body: bytes = answer.read()
        except (HTTPError, OSError) as error:
            raise ReadError(path, None, str(error)) from error
        if answer.status != HTTPStatus.OK:
            raise ReadError(path, answer.status, body.decode(errors="replace"))
        return body


def reader(kubeconfig: Path) -> Reader:
    """The reader of a kubeconfig; one that is written anew gets a new one."""
    return _reader(kubeconfig, kubeconfig.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _reader(kubeconfig: Path, _written: int) -> Reader:
    return Reader(kubeconfig)
