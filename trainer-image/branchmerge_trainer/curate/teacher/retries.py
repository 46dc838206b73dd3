"""When a request that failed for now is tried again."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 60.0
_LONGEST_ASKED_SECONDS = 3600.0
"""An endpoint that asks for more is asked after an hour."""

_FOR_NOW = frozenset({408, 409, 425, 429})


def is_transient(status: int) -> bool:
    """Whether an HTTP status means that the same request may succeed later."""
    return status in _FOR_NOW or status >= 500


def wait_seconds(tries: int, asked: float | None, rng: random.Random) -> float:
    """Seconds to wait after so many failed tries (from 1): exponential backoff, of which half is drawn.

    Where the endpoint `asked` for a wait it gets that, and a little more so that not all come back at once. If that was
    too short it gets what others get.
    """
    if asked is None:
        return _backoff(tries, rng)
    wait = asked + rng.uniform(0.0, min(asked, 5.0))
    return wait if tries == 1 else max(wait, _backoff(tries - 1, rng))


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the endpoint asks to wait: `Retry-After` (RFC 9110, seconds or a date) or OpenAI's `-ms`."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is None and value is not None:
        seconds = _seconds_until(value, now)
    return None if seconds is None else _bounded(seconds)


def _backoff(tries: int, rng: random.Random) -> float:
    longest = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(tries - 1, 16))
    return longest * rng.uniform(0.5, 1.0)


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _LONGEST_ASKED_SECONDS)


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if number == number else None  # not a number is equal to nothing


def _seconds_until(date: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
