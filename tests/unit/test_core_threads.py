"""Ranks share the cores that they may use."""

import pytest

from branchmerge.core.threads import thread_environment
from branchmerge.kube.pods import cores_of


@pytest.mark.parametrize(
    ("cores", "ranks", "threads"), [(64, 8, "8"), (2, 1, "2"), (1.5, 1, "1"), (0.1, 1, "1"), (2, 4, "1")]
)
def test_ranks_share_cores_and_each_has_a_thread(cores: float, ranks: int, threads: str) -> None:
    assert thread_environment(cores, ranks)["OMP_NUM_THREADS"] == threads


@pytest.mark.parametrize(("quantity", "cores"), [("2", 2), ("1.5", 1.5), ("100m", 0.1), ("1k", 1000), ("1Ki", 1024)])
def test_a_quantity_of_cpu_is_a_number_of_cores(quantity: str, cores: float) -> None:
    assert cores_of(quantity) == pytest.approx(cores)
