"""The chart as helm renders it. No cluster is asked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from capabilities import or_skip
from localcluster.build import HELM, go_version
from localcluster.shell import CommandError, run

CHART = Path(__file__).parents[2] / "charts" / "branchmerge"

Object = dict[str, Any]


def helm(*argv: str | Path, stdin: str | None = None) -> str:
    """Run helm and return what it prints; skip the test where this machine cannot build one.

    Raises:
        CommandError: helm refuses.
    """
    or_skip(go_version)
    return run([HELM.program("helm"), *argv], stdin=stdin)


def rendered(values: Mapping[str, Any], *, release: str = "branchmerge", namespace: str = "branchmerge-system") -> str:
    """All objects of a release as YAML, the test's pod included."""
    place = ["--namespace", namespace, "--values", "-"]
    return helm("template", release, CHART, *place, stdin=yaml.safe_dump(dict(values)))


def objects(values: Mapping[str, Any], *, release: str = "branchmerge") -> list[Object]:
    """All objects of a release."""
    return [found for found in yaml.safe_load_all(rendered(values, release=release)) if found]


def find(where: list[Object], kind: str, name: str = "branchmerge") -> Object:
    """The one object of that kind and name."""
    (found,) = (each for each in where if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def refusal(values: Mapping[str, Any]) -> str:
    """What helm says of values that it refuses."""
    try:
        rendered(values)
    except CommandError as error:
        return error.stderr
    raise AssertionError(f"helm takes {values}")
