"""What runs side by side: one process has the tests on a cluster, which mostly wait; others take file after file."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file, and all tests on a cluster, in one process: they share what is made once."""
    for item in items:
        file = item.path.relative_to(TESTS)
        group = "cluster" if file.parts[0] == "cluster" else str(file)
        item.add_marker(pytest.mark.xdist_group(group))
