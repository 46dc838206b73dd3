"""Tells an endpoint that fails for one prompt from one that fails for all."""

from __future__ import annotations

import time

from branchmerge.api.endpoint import Endpoint
from branchmerge.api.errors import InputError
from branchmerge_trainer.curate.teacher.request import Failure
from branchmerge_trainer.failures import TransientError

_REFUSALS = 10
"""So many in a row, without one that was accepted, and the configuration is wrong."""
_QUIET_SECONDS = 3.0
"""A fault is worth telling where nothing is answered for so long."""
_UNCONNECTED_SECONDS = 60.0
"""So long without one connection, and nobody listens."""
_OF_THE_CONFIGURATION = frozenset({401, 403, 404})


class Health:
    """Counts what fails without a success in between."""

    def __init__(self, endpoint: Endpoint, field: str, *, has_answered: bool) -> None:
        """`field`: what messages call the endpoint's part of the spec. `has_answered`: in an earlier attempt."""
        self._endpoint = endpoint
        self._field = field
        self._has_answered = has_answered
        self._has_accepted = False
        self._answers = 0
        self._refusals = 0
        self._given_up = 0
        self._failure = Failure("")
        """The last one."""
        self._has_connected = False
        self._fault = Failure("")
        """Of the last try that failed."""
        self._faulty_since: float | None = None
        """When a try failed first after the last answer; None where none has."""

    @property
    def answers(self) -> int:
        """So far; to be told of a request that fails as of its beginning."""
        return self._answers

    @property
    def trouble(self) -> str | None:
        """The last fault, in few words, where there have been only faults for a while."""
        return self._fault.reason if self._faulty_for() >= _QUIET_SECONDS else None

    def check(self) -> None:
        """Raises TransientError where nobody listens at the endpoint. To be called again and again."""
        if not self._has_connected and self._faulty_for() >= _UNCONNECTED_SECONDS:
            why = f"{self._fault.reason}: {self._fault.detail}"
            raise TransientError(
                f"{self._field}.endpoint: {self._endpoint.endpoint}: not one connection within "
                f"{_UNCONNECTED_SECONDS:.0f} s ({why}); all answers so far are kept"
            )

    def _faulty_for(self) -> float:
        since = self._faulty_since
        return 0.0 if since is None else time.monotonic() - since

    def faulted(self, fault: Failure, *, connected: bool) -> None:
        """A try of a request failed for now; `connected`: though there was a connection."""
        self._has_connected = self._has_connected or connected
        self._fault = fault
        if self._faulty_since is None:
            self._faulty_since = time.monotonic()

    def accepted(self) -> None:
        """The endpoint began to answer a request."""
        self._has_connected = True
        self._has_accepted = True
        self._refusals = 0

    def answered(self) -> None:
        """The endpoint answered a request."""
        self._has_answered = True
        self._faulty_since = None
        self._answers += 1
        self._given_up = 0

    def refused(self, status: int, said: str) -> None:
        """The endpoint refused a request for good.

        Raises InputError where that is not about one prompt: keys, models and addresses are wrong at once or after
        many; a request that is refused as such, by 400 for one, counts against the configuration only as long as none
        was ever accepted.
        """
        self._has_connected = True
        self._refusals += 1
        if status in _OF_THE_CONFIGURATION:
            if not self._has_accepted or self._refusals >= _REFUSALS:
                raise InputError(self._explained(status, said))
        elif self._refusals >= _REFUSALS and not (self._has_accepted or self._has_answered):
            raise InputError(
                f"{self._field}: {self._endpoint.endpoint} refuses all that it is asked (HTTP {status}: {said}): "
                f"give it what it takes: see {self._field}.model, the limits on tokens, and the prompts"
            )

    def gave_up(self, failure: Failure, answers_before: int) -> None:
        """All tries of a request have failed. Raises TransientError where those of many others have, too.

        Only requests count that began after the last answer: once the others are answered, those that fail are alone.
        """
        if answers_before < self._answers:
            return
        self._given_up += 1
        self._failure = failure
        if self._given_up >= max(_REFUSALS, self._endpoint.limits.concurrency):
            raise self._outage()

    def conclude(self) -> None:
        """Nothing more is asked. Raises TransientError where requests were given up, and never one was answered."""
        if self._given_up and not self._has_answered:
            raise self._outage()

    def _outage(self) -> TransientError:
        why = f"{self._failure.reason}: {self._failure.detail}"
        return TransientError(
            f"{self._field}.endpoint: {self._endpoint.endpoint} has not answered the last {self._given_up} requests, "
            f"each tried {self._endpoint.retries + 1} times ({why}); all answers so far are kept"
        )

    def _explained(self, status: int, said: str) -> str:
        field, endpoint = self._field, self._endpoint
        answer = f"{endpoint.endpoint} answers HTTP {status}: {said}"
        if status == 404:
            return f"{field}.model: {endpoint.model!r}: {answer}: correct the model's name, or {field}.endpoint"
        if endpoint.api_key_secret_ref is None:
            return f"{field}.apiKeySecretRef: none, but {answer}: name the secret that holds the key"
        secret = f"{endpoint.api_key_secret_ref.name}/{endpoint.api_key_secret_ref.key}"
        return f"{field}.apiKeySecretRef: {secret}: {answer}: put a key there that may use {endpoint.model}"
