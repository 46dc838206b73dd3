"""Prompts -> the teacher's answers, all samples of a prompt together, in the prompts' order."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from branchmerge.api.teacher import Teacher
from branchmerge_trainer.curate.candidates import Candidate, Drop
from branchmerge_trainer.curate.rows import Message
from branchmerge_trainer.curate.teacher.keys import Key, digest_of
from branchmerge_trainer.curate.teacher.log import AnswerLog, Entry
from branchmerge_trainer.curate.teacher.reply import Usage, text_of
from branchmerge_trainer.curate.teacher.request import Drawing, Failure, Request
from branchmerge_trainer.curate.teacher.session import Report, Session


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the teacher."""

    prompt: Candidate
    sample: int
    """From 0."""
    text: str
    """All that it wrote, its trace in `<think>`."""
    usage: Usage
    seed: int
    model: str | None
    """As the endpoint calls it."""

    def candidate(self) -> Candidate:
        """The row that it may become."""
        turn = {"role": "assistant", "content": self.text}
        return replace(self.prompt, messages=[*self.prompt.messages, turn], sample=self.sample)


def ask(
    prompts: Iterable[Candidate],
    teacher: Teacher,
    folder: Path,
    key: str | None,
    report: Report,
    drop: Drop,
    field: str = "spec.teacher",
) -> Generator[list[Answer], None, None]:
    """Yield the answers to each prompt that has some. Every other sample is dropped with its reason.

    What the log in `folder` holds is not asked again; what could not be answered is. Of a process that is killed, the
    answers to requests in flight (at most `limits.concurrency`) may be lost, and nothing else. `key` is sent to the
    endpoint and nowhere else; `field` is what messages call the teacher. Close the iterator, or exhaust it, to end all
    requests: answers that have come are in the log then.

    Raises InputError where key, model or endpoint are wrong, TransientError where the endpoint does not answer.
    """
    samples = range(teacher.sampling.samples)
    with Session(teacher, key, folder, report, field) as session:

        async def work(prompt: Candidate) -> list[Failure | None]:
            digest = digest_of(prompt.messages)
            requests = (_request(prompt, Key(digest, sample), teacher) for sample in samples)
            return await asyncio.gather(*map(session.asker.ask, requests))

        for prompt, failures in session.results(prompts, work, requests=len(samples)):
            answers = list(_kept(prompt, failures, session.log, drop))
            if answers:
                yield answers


def _request(prompt: Candidate, key: Key, teacher: Teacher) -> Request:
    sampling = teacher.sampling
    messages: list[Message] = prompt.messages
    if teacher.system_prompt is not None and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": teacher.system_prompt}, *messages]
    drawing = Drawing(key.seed(sampling.seed), sampling.max_tokens, sampling.temperature, sampling.top_p)
    return Request(key, messages, drawing)


def _kept(prompt: Candidate, failures: list[Failure | None], log: AnswerLog, drop: Drop) -> Iterator[Answer]:
    digest = digest_of(prompt.messages)
    for sample, failure in enumerate(failures):
        if failure is not None:
            drop(f"teacher: {failure.reason}", replace(prompt, sample=sample), failure.detail)
            continue
        entry = log[Key(digest, sample)]
        text = text_of(entry.answer or "", entry.reasoning)
        answer = Answer(prompt, sample, text, entry.usage, entry.seed, entry.model)
        reason = _unusable(entry)
        if reason is None:
            yield answer
        else:
            drop(f"teacher: {reason}", answer.candidate(), f"finish_reason {entry.finish_reason}")


def _unusable(entry: Entry) -> str | None:
    """Why an answer is not worth keeping, or None."""
    match entry.finish_reason:
        case "length":
            return "truncated"
        case "content_filter":
            return "filtered"
    return None if (entry.answer or "").strip() else "empty answer"
