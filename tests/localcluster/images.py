"""Images: built from Dockerfiles by buildah, kept as archives outside the clone, loaded into the nodes' containerd."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from localcluster.cache import cache_root, key_of, once
from localcluster.node import Node
from localcluster.progress import step
from localcluster.shell import run

DOCKERFILES = Path(__file__).parent / "dockerfiles"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
BUILD_TIMEOUT_SECONDS = 1_800
ARCHIVE = "image.tar"
PARALLEL_LOADS = 2  # nodes
BYTECODE = "__pycache__"


@dataclass(frozen=True)
class Image:
    """An image that a Dockerfile makes.

    Attributes:
        name: how pods name it, tag included.
        dockerfile: its Dockerfile.
        context: paths in the build context -> the files or folders of this machine that are put there.
        arguments: build arguments.
        bases: the images that its FROM lines name; nothing is ever pulled.
        registries: whether its RUN lines need package registries; pip and uv then trust what this machine trusts.
        kept_stages: stages of the Dockerfile whose layers are kept for the next build, even if they are in no image.
    """

    name: str
    dockerfile: Path
    context: Mapping[str, Path] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    bases: tuple["Image", ...] = ()
    registries: bool = False
    kept_stages: tuple[str, ...] = ()

    @cached_property
    def key(self) -> str:
        """Changes when anything does that it is made of."""
        texts = [self.name, self.dockerfile.read_text(), *(f"{k}={v}" for k, v in sorted(self.arguments.items()))]
        texts += [base.key for base in self.bases]
        texts += [
            f"{target} {digest}" for target, source in sorted(self.context.items()) for digest in _digests(source)
        ]
        return key_of(text.encode() for text in texts)

    @property
    def slug(self) -> str:
        """Its name without its tag, fit for a file's name."""
        return self.name.rpartition(":")[0].replace("/", "_")

    def archive(self) -> Path:
        """The image as an archive for `ctr images import`, built where it is not yet."""

        def make(into: Path) -> None:
            with (
                step(f"building image {self.name}"),
                tempfile.TemporaryDirectory(prefix=".", dir=into.parent) as scratch,
            ):
                _buildah("rm", "--all")  # of a build that was killed
                self._store(Path(scratch))
                self._prune(into.parent)
                target = f"docker-archive:{into / ARCHIVE}:{self.name}"
                _buildah("push", "--quiet", "--disable-compression", self.name, target)

        return once(cache_root() / "images" / f"{self.slug}-{self.key}", make) / ARCHIVE

    def _store(self, scratch: Path) -> None:
        """Build it into buildah's own store, with its bases before it, unless it is there.

        In the store, its tag is its key. Its name stands for the one that was asked for last, of whatever clone.
        """
        repository = self.name.rpartition(":")[0]
        stored = f"{repository}:{self.key}"
        earlier = [tag for tag in _stored() if tag.startswith(f"{repository}:") and tag not in {self.name, stored}]
        if stored not in _stored():
            self._build(stored, scratch)
        _buildah("tag", stored, self.name)
        if earlier:
            _buildah("rmi", *earlier)
        _buildah("rmi", "--prune")  # layers of earlier builds

    def _build(self, stored: str, scratch: Path) -> None:
        for base in self.bases:
            base._store(scratch)
        context = scratch / f"context-{self.key}"
        self._gather(context)
        arguments = [word for item in self.arguments.items() for word in ("--build-arg", "=".join(item))]
        mounts = _trusted_registries(scratch) if self.registries else []
        options = ["--pull-never", "--layers", *arguments, *mounts, "--file", str(self.dockerfile)]
        for stage in self.kept_stages:
            _buildah("bud", "--target", stage, "--tag", f"{self.name}-{stage}", *options, str(context))
        _buildah("bud", "--tag", stored, *options, str(context))

    def _gather(self, context: Path) -> None:
        context.mkdir()
        for target, source in self.context.items():
            (context / target).parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, context / target, ignore=shutil.ignore_patterns(BYTECODE))
            else:
                shutil.copy(source, context / target)

    def _prune(self, folder: Path) -> None:
        """Remove its earlier archives: one of a trainer takes gigabytes."""
        for earlier in folder.glob(f"{self.slug}-*"):
            shutil.rmtree(earlier)


def load(images: Sequence[Image], nodes: Sequence[Node]) -> None:
    """Build images where they are not yet, and load them into nodes where they are not yet."""
    archives = [image.archive() for image in images]

    def fill(node: Node) -> None:
        for archive in archives:
            node.load(archive)

    with ThreadPoolExecutor(max_workers=PARALLEL_LOADS) as pool:
        list(pool.map(fill, nodes))


def _digests(source: Path) -> Iterator[str]:
    """The name, below `source`, and the digest of each file that an image would get."""
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    for file in files:
        if BYTECODE not in file.parts:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            yield f"{file.relative_to(source)} {file.stat().st_mode & 0o111:o} {digest}"


def _trusted_registries(scratch: Path) -> list[str]:
    """Mounts that let pip and uv of a RUN line trust the certificate authorities of this machine.

    They matter where package registries are reached through a mirror; the image gets nothing of them.
    """
    certificates = os.environ.get("SSL_CERT_FILE", CERTIFICATES)
    settings = {"/etc/pip.conf": f"[global]\ncert = {CERTIFICATES}\n", "/etc/uv/uv.toml": "system-certs = true\n"}
    mounts = ["--volume", f"{certificates}:{CERTIFICATES}:ro"]
    for place, text in settings.items():
        file = scratch / Path(place).name
        file.write_text(text)
        mounts += ["--volume", f"{file}:{place}:ro"]
    return mounts


def _stored() -> list[str]:
    """The tags in buildah's store."""
    return _buildah("images", "--noheading", "--format", "{{.Name}}:{{.Tag}}").split()


def _buildah(command: str, *argv: str) -> str:
    """Run buildah on a store of our own; in a mount namespace, so that nothing stays mounted when it is killed."""
    root = cache_root() / "buildah"
    store = ["--root", str(root / "store"), "--runroot", str(root / "run"), "--storage-driver", "overlay"]
    config = root / "containers.conf"  # keeps it from making /etc/cni
    if not config.exists():
        root.mkdir(parents=True, exist_ok=True)
        config.write_text(f'[network]\nnetwork_config_dir = "{root}/cni"\n')
    env = {**os.environ, "BUILDAH_ISOLATION": "chroot", "CONTAINERS_CONF": str(config)}
    return run(["unshare", "--mount", "buildah", *store, command, *argv], env=env, timeout=BUILD_TIMEOUT_SECONDS)
