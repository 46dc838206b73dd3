"""Numbers and durations as people read them."""

from __future__ import annotations

_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def duration(seconds: float) -> str:
    """`0:07`, `12:34`, `3:04:05`, `2 d 03:04`."""
    whole = max(0, round(seconds))
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days} d {hours:02}:{minutes:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def short(number: float) -> str:
    """A large number in three digits: `812`, `41.2k`, `1.3M`."""
    for size, unit in _UNITS:
        if abs(number) >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def size(count: int) -> str:
    """A number of bytes, by 1024."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """`1 stage`, `2 stages`; `many` where the plural is not formed by an s."""
    return f"{count} {noun if count == 1 else many or f'{noun}s'}"
