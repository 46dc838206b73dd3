"""Tests that need much of the machine: they skip loudly where it cannot, and in CI that is a failure."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from localcluster.errors import CannotRunError
from localcluster.progress import say


def or_skip(requirement: Callable[[], object]) -> None:
    """Skip the test where `requirement` says that this machine cannot run it; with CI=true, fail it."""
    try:
        requirement()
    except CannotRunError as error:
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(f"CI may skip nothing: {error}")
        say(f"SKIPPED: {error}")
        pytest.skip(str(error))


@contextmanager
def speaking(request: pytest.FixtureRequest) -> Iterator[None]:
    """What is printed in the block is seen at once, though pytest captures the output of tests."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        yield
