"""`python -m branchmerge_trainer.rank`: one rank of a stage, started by the launcher."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from branchmerge_trainer.failures import log_needed, outcome_of
from branchmerge_trainer.launcher import LAUNCHER_ENV, RANK_OUTCOMES_ENV
from branchmerge_trainer.main import context_from_env
from branchmerge_trainer.runtime import assist_stage, run_stage
from branchmerge_trainer.signals import StopFlag, die_with_parent
from branchmerge_trainer.workspace import write_atomic


def main() -> int:
    """Run the rank; the exit code is the contract's, and the reason lies in the launcher's folder."""
    die_with_parent(int(os.environ[LAUNCHER_ENV]))
    stop = StopFlag(at_once=False)
    stop.install()
    rank = int(os.environ["RANK"])
    try:
        context = context_from_env(stop, reports=rank == 0)
        if rank == 0:
            run_stage(context)
        else:
            assist_stage(context)
    except BaseException as error:
        outcome = outcome_of(error)
        if log_needed(error, outcome):
            traceback.print_exc()
        folder = Path(os.environ[RANK_OUTCOMES_ENV])
        write_atomic(folder / f"{rank}.json", outcome.to_bytes())
        return outcome.exit_code
    finally:
        _leave_process_group()
    return 0


def _leave_process_group() -> None:
    """Close torch's process group where one is open: a rank that exits with it sometimes aborts."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
