"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JobPath = Annotated[Path, typer.Argument(metavar="FILE", help="YAML file with a DistillationJob.")]
WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace", metavar="DIR", help="Folder of a local run. Default: spec.workspace.path, or runs/<job>."
    ),
]
StageArgument = Annotated[str, typer.Argument(metavar="STAGE", help="Name of a stage, such as train/math.")]

_CLUSTER_PANEL = "Jobs on a cluster"
JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="YAML file with a DistillationJob; on a cluster, the job's name will do.")
]
ClusterOption = Annotated[
    bool,
    typer.Option(
        "--cluster",
        help="The job is on the cluster of kubectl's current context. Implied by the other two.",
        rich_help_panel=_CLUSTER_PANEL,
    ),
]
ContextOption = Annotated[
    str | None,
    typer.Option(
        "--context", metavar="NAME", help="Context of the kubeconfig (KUBECONFIG).", rich_help_panel=_CLUSTER_PANEL
    ),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NS",
        help="The job's namespace. Default: the file's, else the context's.",
        rich_help_panel=_CLUSTER_PANEL,
    ),
]
