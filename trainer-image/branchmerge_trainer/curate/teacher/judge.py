"""Candidates -> whether a judge, which is another model, finds their answers right."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

from branchmerge.api.verification import Judge
from branchmerge_trainer.curate.candidates import Candidate, Drop
from branchmerge_trainer.curate.rows import Message
from branchmerge_trainer.curate.teacher.keys import Key, digest_of
from branchmerge_trainer.curate.teacher.log import Entry
from branchmerge_trainer.curate.teacher.reply import encodable, text_of
from branchmerge_trainer.curate.teacher.request import Drawing, Failure, Request
from branchmerge_trainer.curate.teacher.session import Report, Session
from branchmerge_trainer.curate.teacher.verdicts import judging_messages, verdict_of
from branchmerge_trainer.verify.text import final_text
from branchmerge_trainer.verify.verdict import NO_ANSWER, NO_END_OF_TRACE, Verdict, compared

_TRIES = 3
"""Of a judge whose verdict cannot be read: the first is greedy, the others are drawn."""
_TEMPERATURE = 0.7
_SEED = 0
_NO_VERDICT = Failure("gave no verdict", f"{_TRIES} times neither CORRECT nor INCORRECT")


def judged(
    candidates: Iterable[Candidate],
    judge: Judge,
    reference: str,
    folder: Path,
    key: str | None,
    report: Report,
    drop: Drop,
    field: str,
) -> Generator[tuple[Candidate, Verdict], None, None]:
    """Yield each candidate with the judge's verdict, in order. Those without one are dropped with the reason.

    Nobody is asked about an answer that never ends its trace, or has nothing after it. `reference` is the column with
    the reference answer, which a row may lack; `field` is what messages call the judge. For `folder`, `key`, the log
    and errors see `teacher.ask.ask`: no answer is judged twice.
    """
    with Session(judge, key, folder, report, field) as session:

        async def work(candidate: Candidate) -> Verdict | Failure:
            answer = final_text("", candidate.answer)
            if not answer:
                return NO_END_OF_TRACE if answer is None else NO_ANSWER
            messages = _messages(candidate, answer, judge, reference)
            digest = digest_of(messages)
            for sample in range(_TRIES):
                request = _request(Key(digest, sample), messages, judge)
                failure = await session.asker.ask(request)
                if failure is not None:
                    return failure
                is_right = _verdict(session.log[request.key])
                if is_right is not None:
                    return compared(is_right, answer)
            return _NO_VERDICT

        for candidate, verdict in session.results(candidates, work):
            if isinstance(verdict, Failure):
                drop(f"judge: {verdict.reason}", candidate, verdict.detail)
            else:
                yield candidate, verdict


def _messages(candidate: Candidate, answer: str, judge: Judge, reference: str) -> list[Message]:
    expected = candidate.fields.get(reference)
    shown = None if expected is None else encodable(str(expected))
    return judging_messages(judge.rubric, candidate.messages[:-1], answer, shown)


def _request(key: Key, messages: list[Message], judge: Judge) -> Request:
    temperature = 0.0 if key.sample == 0 else _TEMPERATURE
    return Request(key, messages, Drawing(key.seed(_SEED), judge.max_tokens, temperature))


def _verdict(entry: Entry) -> bool | None:
    """None where it cannot be read, or was cut before its end."""
    return None if entry.finish_reason == "length" else verdict_of(text_of(entry.answer or "", None))
