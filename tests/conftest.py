"""Which tests are on the cluster: they mostly wait, and so run beside the others, in a process of their own."""

import pytest


@pytest.hookimpl(tryfirst=True)  # `-m` looks at the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what shares the cluster of three nodes."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)
