"""The project's own images, from its own Dockerfiles."""

from pathlib import Path

from localcluster.images import Image
from localcluster.standins import base_image

CLONE = Path(__file__).parents[2]
OPERATOR = "localhost/branchmerge/operator:dev"
TRAINER = "localhost/branchmerge/trainer:dev"
QUICK_TRAINER = "localhost/branchmerge/quick-trainer:dev"
PROJECT_FILES = ("pyproject.toml", "uv.lock", "README.md", "LICENSE", "operator/branchmerge")


def operator_image() -> Image:
    """The operator."""
    return _project_image(OPERATOR, "operator/Dockerfile", "trainer-image/branchmerge_trainer/__init__.py")


def trainer_image() -> Image:
    """The trainer: gigabytes, most of them torch."""
    return _project_image(TRAINER, "trainer-image/Dockerfile", "trainer-image/branchmerge_trainer")


def quick_trainer_image() -> Image:
    """A trainer that keeps the contract of a stage and computes nothing: for what is the operator's alone."""
    base = base_image()
    context = {name: CLONE / "tests" / name for name in ("quick_trainer.py", "quick_cleanup.py")}
    dockerfile = Path(__file__).with_name("quick.Dockerfile")
    return Image(QUICK_TRAINER, dockerfile, context, {"PYTHON_IMAGE": base.name}, bases=(base,))


def _project_image(name: str, dockerfile: str, *more: str) -> Image:
    base = base_image()
    return Image(
        name,
        CLONE / dockerfile,
        {path: CLONE / path for path in (*PROJECT_FILES, *more)},
        {"PYTHON_IMAGE": base.name},
        bases=(base,),
        registries=True,
        kept_stages=("dependencies",),
    )
