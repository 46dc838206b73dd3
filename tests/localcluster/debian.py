"""Debian's packages as the root filesystem of an image."""

import os
from collections.abc import Sequence
from pathlib import Path

from localcluster.cache import cache_root, key_of, once
from localcluster.progress import step
from localcluster.shell import run

SUITE = "bookworm"
LEFT_OUT = ("doc", "info", "locale", "man")  # of /usr/share, as in Debian's own slim images
BOOTSTRAP_TIMEOUT_SECONDS = 900


def root_filesystem(variant: str, packages: Sequence[str]) -> Path:
    """An archive of a root filesystem, made once.

    Args:
        variant: what mmdebstrap installs besides `packages`: `essential` a small system, `extract` nothing else.
        packages: Debian packages.
    """
    options = [f"--variant={variant}", *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT)]
    options += [f"--include={','.join(packages)}", "--mode=root", SUITE]
    final = cache_root() / "debian" / f"{variant}-{key_of(option.encode() for option in options)}"

    def make(into: Path) -> None:
        with step(f"installing Debian for images ({variant})", hint="seconds, once"):
            _bootstrap(options, into / "root.tar")

    return once(final, make) / "root.tar"


def _bootstrap(options: Sequence[str], archive: Path) -> None:
    # In a mount namespace of its own, so that nothing stays mounted when it is killed.
    run(
        ["unshare", "--mount", "mmdebstrap", *options, archive],
        env={**os.environ, "TMPDIR": str(archive.parent), "SOURCE_DATE_EPOCH": "0"},
        timeout=BOOTSTRAP_TIMEOUT_SECONDS,
    )
