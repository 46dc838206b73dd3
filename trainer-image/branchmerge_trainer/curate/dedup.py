"""Removes rows that repeat an earlier one: the first stays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from branchmerge_trainer.curate.candidates import Candidate, Drop
from branchmerge_trainer.curate.minhash import NearIndex, signature_of
from branchmerge_trainer.curate.words import spaced_words


def without_repeats(candidates: Iterable[Candidate], drop: Drop) -> Iterator[Candidate]:
    """Drop rows whose messages equal an earlier row's, white space apart.

    In memory: about 250 bytes a row that stays.
    """
    seen: dict[bytes, tuple[int, int]] = {}
    for candidate in candidates:
        digest = _digest(candidate)
        if digest in seen:
            drop("repeats a row", candidate, _named(seen[digest]))
        else:
            seen[digest] = candidate.prompt
            yield candidate


def without_near_repeats(candidates: Iterable[Candidate], threshold: float, drop: Drop) -> Iterator[Candidate]:
    """Drop rows whose text is similar to an earlier row's: the Jaccard index of their word 5-grams reaches `threshold`.

    Words are parted by spaces and keep their punctuation, so that `2+3` is no repetition of `2-3`. The index is
    estimated by MinHash; see `minhash` for how well. In memory: about 6 KB a row that stays.
    """
    index = NearIndex(threshold)
    stayed: list[tuple[int, int]] = []
    for candidate in candidates:
        words = [word for message in candidate.messages for word in spaced_words(message["content"])]
        signature = signature_of(words)
        found = index.similar(signature)
        if found is not None:
            detail = f"{_named(stayed[found.number])}, similarity {found.similarity:.2f}"
            drop("nearly repeats a row", candidate, detail)
        else:
            index.add(signature)
            stayed.append(candidate.prompt)
            yield candidate


def _digest(candidate: Candidate) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for message in candidate.messages:
        digest.update(f"{message['role']}\0{' '.join(message['content'].split())}\0".encode())
    return digest.digest()


def _named(prompt: tuple[int, int]) -> str:
    source, row = prompt
    return f"row {row} of sources[{source}]"
