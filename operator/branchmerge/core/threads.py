"""How many threads each rank of a stage computes with."""

from __future__ import annotations

_THREAD_POOLS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
)


def thread_environment(cores: float, ranks: int) -> dict[str, str]:
    """The variables by which libraries learn their number of threads, for ranks that share `cores`.

    Without them each library starts a thread for every core of the machine, in every rank. A thread that waits leaves
    its core to others: on a busy machine one that spins makes a stage ten times slower.
    """
    threads = str(max(1, int(cores // ranks)))
    return {**dict.fromkeys(_THREAD_POOLS, threads), "OMP_WAIT_POLICY": "PASSIVE"}
