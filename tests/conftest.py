"""What runs side by side: one process has the tests on the cluster, which mostly wait; others take file after file."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # xdist looks at the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file, and all tests on the cluster, in one process: they share what is made once."""
    for item in items:
        shares_cluster = "cluster" in getattr(item, "fixturenames", ())
        group = "cluster" if shares_cluster else str(item.path.relative_to(TESTS))
        item.add_marker(pytest.mark.xdist_group(group))
