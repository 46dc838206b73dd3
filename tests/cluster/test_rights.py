"""The operator's rights: what it asked for in all the tests before these ones, by the audit log."""

import re
from collections.abc import Iterator

import pytest

from deployment.bench import values
from deployment.rendering import objects
from localcluster.audit import Request
from localcluster.cluster import Cluster

OPERATORS = re.compile(r"system:serviceaccount:(?P<namespace>(?:bench|mini)-[0-9a-f]{8}):")
"""Service accounts of the operators that tests install, each of which watches its own namespace."""
FEWEST_OPERATORS = 5
"""With fewer, the other tests have not run."""
Right = tuple[str, str]
"""(verb, resource)."""


@pytest.fixture(scope="module")
def requests(cluster: Cluster, audit_start: int) -> list[Request]:
    """All requests of operators since the tests began, those of other processes included where it is a suite."""
    found = [request for request in cluster.audit.requests(since=audit_start) if OPERATORS.match(request.user)]
    if len({request.user for request in found}) < FEWEST_OPERATORS:
        pytest.skip("these tests look back at all others on the cluster: run them together")
    return found


def test_nothing_was_denied_that_the_chart_does_not_grant(requests: list[Request]) -> None:
    """What it does grant is denied for a moment by an API server that has just started, and after an uninstall."""
    denied = {(request.verb, request.resource) for request in requests if not request.allowed}
    assert denied - set(granted()) == set()


def test_every_right_that_the_chart_grants_was_used(requests: list[Request]) -> None:
    used = {(request.verb, request.resource) for request in requests if request.code < 400}
    assert set(granted()) - used == set()


def test_an_operator_of_one_namespace_reads_nothing_elsewhere(requests: list[Request]) -> None:
    elsewhere = [
        request
        for request in requests
        for found in [OPERATORS.match(request.user)]
        if found and request.resource and request.namespace != found["namespace"]
    ]
    # Whose token a stage shows has no namespace; it is asked only where `progress.enabled` says so.
    assert {(request.verb, request.resource) for request in elsewhere} <= {("create", "tokenreviews")}


def granted() -> Iterator[Right]:
    """What the roles of a release grant its service account, in a namespace, with progress."""
    for role in objects(values("bench") | {"progress": {"enabled": True}}):
        if role["kind"] in {"Role", "ClusterRole"}:
            for rule in role["rules"]:
                yield from ((verb, resource) for verb in rule["verbs"] for resource in rule["resources"])
