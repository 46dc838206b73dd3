"""Debian's packages as the root filesystem of an image."""

import os
from collections.abc import Sequence
from pathlib import Path

from localcluster.cache import appears_at, cache_root, exclusive, key_of
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
    with exclusive("debian"):
        if not final.is_dir():
            with step(f"installing Debian for images ({variant})", hint="seconds, once"), appears_at(final) as scratch:
                (scratch / final.name).mkdir()
                _bootstrap(options, scratch / final.name / "root.tar", scratch)
    return final / "root.tar"


def _bootstrap(options: Sequence[str], archive: Path, scratch: Path) -> None:
    # In a mount namespace of its own, so that nothing stays mounted when it is killed.
    run(
        ["unshare", "--mount", "mmdebstrap", *options, archive],
        env={**os.environ, "TMPDIR": str(scratch), "SOURCE_DATE_EPOCH": "0"},
        timeout=BOOTSTRAP_TIMEOUT_SECONDS,
    )
