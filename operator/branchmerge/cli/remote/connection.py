"""One job on a cluster: how it is read, and what is said where the API server refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from kubernetes.aio.config import ConfigException

from branchmerge.api.errors import InputError
from branchmerge.api.resource import KIND
from branchmerge.api.status import ConditionType, Status
from branchmerge.cli.console import failed
from branchmerge.cli.picture import holds
from branchmerge.cli.place import RemoteJob
from branchmerge.cli.remote.kubeconfig import Choice, choose
from branchmerge.core.naming import listed
from branchmerge.kube.cluster import DISTILLATION_JOBS, Cluster, ClusterError, NotFoundError, Raw

FIELD_MANAGER = "branchmerge-cli"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Connection:
    """A job, and the cluster that it is on."""

    cluster: Cluster
    choice: Choice
    namespace: str
    name: str

    @property
    def place(self) -> str:
        """Where the job is, for people."""
        return f"namespace {self.namespace}, {self.choice}"

    @property
    def typed(self) -> str:
        """The job as a command takes it."""
        context = f" --context {self.choice.context}" if self.choice.context else ""
        return f"{self.name} -n {self.namespace}{context}"

    async def read(self) -> JobObject:
        """The job now. Raises InputError where there is none."""
        try:
            return JobObject(await self.cluster.get(DISTILLATION_JOBS, self.namespace, self.name))
        except NotFoundError:
            raise InputError(await self._absence()) from None

    async def _absence(self) -> str:
        """Why the job is not found, and which ones are, as far as the person may list them."""
        problem = f"JOB: no job {self.name!r} in {self.place}"
        try:
            here, _ = await self.cluster.list(DISTILLATION_JOBS, self.namespace)
        except NotFoundError:
            return f"{self.choice}: this cluster knows no {KIND}s: install the chart, or name another context"
        except ClusterError:
            return f"{problem}: correct the name or the namespace"
        if here:
            return f"{problem}: use one of {', '.join(_names(here))}"
        elsewhere = sorted({job["metadata"]["namespace"] for job in await self._everywhere()})
        return f"{problem}: there are none" + (f"; some are in {listed(elsewhere)}: add -n" if elsewhere else "")

    async def _everywhere(self) -> list[Raw]:
        try:
            return (await self.cluster.list(DISTILLATION_JOBS, None))[0]
        except ClusterError:
            return []  # who may list one namespace is told of that one


@dataclass(frozen=True, slots=True)
class JobObject:
    """A DistillationJob as the API server has it, valid or not."""

    body: Raw

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])

    @property
    def generation(self) -> int:
        """Version of the spec."""
        return int(self.body["metadata"]["generation"])

    @property
    def status(self) -> Status:
        """Where it stands; an empty status before the operator has seen it."""
        return Status.model_validate(self.body.get("status") or {})

    @property
    def suspended(self) -> bool:
        """Whether the spec asks for it to be suspended."""
        return bool(self.body["spec"].get("suspend"))

    @property
    def current(self) -> bool:
        """Whether the status is of the spec as it is now."""
        return self.status.observed_generation == self.generation

    @property
    def over(self) -> bool:
        """Whether it has ended, as it is specified now."""
        ended = (ConditionType.SUCCEEDED, ConditionType.FAILED)
        return self.current and any(holds(self.status, each) for each in ended)


def connected(job: RemoteJob, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do `work` on a job. Raises InputError, or typer.Exit once it has said what the cluster refused."""
    choice = choose(job.context)
    try:
        return asyncio.run(_within(job, choice, work))
    except ClusterError as error:
        raise failed(explained(error, choice)) from None


async def _within(job: RemoteJob, choice: Choice, work: Callable[[Connection], Awaitable[T]]) -> T:
    try:
        cluster = await Cluster.connect(choice.context, FIELD_MANAGER)
    except (ConfigException, OSError) as error:
        raise InputError(f"{choice}: {error}: mend the kubeconfig") from None
    async with cluster:
        return await work(Connection(cluster, choice, job.namespace or choice.namespace, job.name))


def explained(error: ClusterError, choice: Choice) -> str:
    """What the API server refused, and what to do, in one line."""
    message = " ".join(error.message.split())
    match error.status:
        case 0:
            return f"{choice}: the API server does not answer: {message}: check the network, or name another context"
        case HTTPStatus.UNAUTHORIZED:
            return f"{choice}: the API server does not know these credentials: log in again, or name another context"
        case HTTPStatus.FORBIDDEN:
            return f"{message}: ask the cluster's administrator for this right"
        case _:
            return f"{choice}: {message}"


def _names(jobs: list[Raw]) -> list[str]:
    return sorted(job["metadata"]["name"] for job in jobs)
