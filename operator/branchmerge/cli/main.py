"""`branchmerge`: what a person types."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from branchmerge.api.errors import InputError
from branchmerge.cli.console import Exit, complain
from branchmerge.cli.logs import logs
from branchmerge.cli.plan import plan
from branchmerge.cli.report import report
from branchmerge.cli.run import run
from branchmerge.cli.status import status
from branchmerge.cli.suspend import resume, suspend
from branchmerge.cli.validate import validate
from branchmerge.local.files import refusal
from branchmerge.local.problems import lines_of

_USAGE_ERROR = 2

app = typer.Typer(
    name="branchmerge",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: branchmerge run examples/mini/distillation.yaml",
)
for command in (run, validate, plan, status, logs, report, suspend, resume):
    app.command()(command)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"branchmerge {version('branchmerge')}")
        raise typer.Exit


@app.callback()
def branchmerge(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Branch-Merge distillation of LLMs: one YAML file, from teacher traces to a merged, measured model.

    A job that is described by FILE runs on this machine as local processes, in a folder runs/<job>.

    A job that was applied to a cluster (kubectl apply -f FILE) is looked at with --cluster, --context NAME or -n NS.
    """


def main() -> None:
    """Run the command line. Ends the process with 0, 1, 64 or 130; never with a traceback for a mistake of the user."""
    sys.exit(_run())


def _run() -> int:
    try:
        app()
    except SystemExit as ended:
        return Exit.BAD_INPUT if ended.code == _USAGE_ERROR else int(ended.code or 0)
    except InputError as error:
        complain(lines_of(error))
        return Exit.BAD_INPUT
    except OSError as error:
        problem = refusal(error)
        if problem is None:
            raise
        complain([problem])
        return Exit.BAD_INPUT
    return Exit.DONE
