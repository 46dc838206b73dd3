"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JobPath = Annotated[Path, typer.Argument(metavar="FILE", help="YAML file with a DistillationJob.")]
WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace", "-w", metavar="DIR", help="Folder of the run. Default: spec.workspace.path, or runs/<job>."
    ),
]
StageArgument = Annotated[str, typer.Argument(metavar="STAGE", help="Name of a stage, such as train/math.")]
