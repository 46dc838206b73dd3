"""Which token sequences share a packed one."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

Pack = Sequence[int]
"""Indexes of the sequences that are put together."""


def best_fit_decreasing(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Indexes of `lengths` in packs of at most `capacity` tokens: longest first, each where it leaves least room.

    Of equal lengths the first comes first, and of equally full packs the latest is taken. The number of packs depends
    on the lengths alone, not on their order. Best fit decreasing needs at most 11/9 of the fewest possible packs.
    """
    packs: list[list[int]] = []
    rooms: list[int] = []
    """The distinct amounts of room that packs have left, ascending."""
    packs_with: dict[int, list[int]] = {}
    """Room -> numbers of the packs that have it."""
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        length = lengths[index]
        assert 0 < length <= capacity, f"a sequence of {length} tokens does not fit into {capacity}"
        place = bisect_left(rooms, length)
        if place == len(rooms):
            pack, room = len(packs), capacity
            packs.append([])
        else:
            room = rooms[place]
            pack = packs_with[room].pop()
            if not packs_with[room]:
                del packs_with[room], rooms[place]
        packs[pack].append(index)
        left = room - length
        if left:
            if left not in packs_with:
                packs_with[left] = []
                insort(rooms, left)
            packs_with[left].append(pack)
    return packs
