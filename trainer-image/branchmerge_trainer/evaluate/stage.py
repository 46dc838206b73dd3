"""The evaluation of one model: every suite's questions, answered in batches that survive a kill, judged and scored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from branchmerge.api.errors import InputError
from branchmerge.api.evaluation import Engine, Suite
from branchmerge.api.stage import EvaluateTask, Score
from branchmerge_trainer.evaluate.answers import FOLDER, Answer, correctness, write_answers
from branchmerge_trainer.evaluate.batches import Draw, plan_batches
from branchmerge_trainer.evaluate.engine import Completion, TransformersEngine
from branchmerge_trainer.evaluate.judging import Completed, Judges, open_judges
from branchmerge_trainer.evaluate.resume import BatchLog, FinishedBatch
from branchmerge_trainer.evaluate.statistics import pass_at_1
from branchmerge_trainer.evaluate.suites import Question, read_questions
from branchmerge_trainer.models import check_files, model_folder
from branchmerge_trainer.runtime import Findings, StageContext
from branchmerge_trainer.verify.verdict import Verdict

METRIC = "pass@1"


def run(task: EvaluateTask, context: StageContext, folder: Path) -> Findings:
    """Write `answers/<suite>.jsonl` for each suite. Batches that an earlier attempt finished are not drawn again.

    Raises InputError for a suite that cannot be read, or whose code cannot be isolated, before the model is loaded.
    """
    if task.engine is not Engine.TRANSFORMERS:
        raise InputError(f"evaluation.engine: {task.engine}: not supported yet: use transformers")
    context.progress.phase("reading suites")
    suites = [(suite, read_questions(suite, context.workspace)) for suite in task.suites]
    with open_judges(task.suites) as judges:
        context.progress.phase("loading model")
        model = model_folder(task.model, context.workspace)
        check_files(model, task.model.name)
        engine = TransformersEngine(model)
        evaluation = _Evaluation(task.seed, context, engine, judges, sum(len(q) * suite.samples for suite, q in suites))
        finished = {suite.name: evaluation.answer(suite, questions) for suite, questions in suites}
    scores = []
    for suite, questions in suites:
        answers = _in_order(finished[suite.name], questions)
        write_answers(folder, suite.name, answers)
        scores.append(_score(suite, answers))
    return Findings(figures=_figures([batch for batches in finished.values() for batch in batches]), scores=scores)


class _Evaluation:
    """Answers suite after suite, counting answers over all of them."""

    def __init__(
        self, seed: int, context: StageContext, engine: TransformersEngine, judges: Judges, answers: int
    ) -> None:
        self._seed = seed
        self._context = context
        self._engine = engine
        self._judges = judges
        self._steps = answers
        self._done = 0

    def answer(self, suite: Suite, questions: Sequence[Question]) -> list[FinishedBatch]:
        """Every batch of the suite, in order."""
        prompts = [self._prompt(suite, question) for question in questions]
        batches = plan_batches(suite, questions, prompts, self._engine.count_tokens(prompts), self._seed)
        max_tokens = _answer_tokens(suite, batches[0][0], self._engine.context_tokens)
        log = BatchLog(self._context.work / FOLDER / f"{suite.name}.jsonl")
        self._context.progress.phase(f"answering {suite.name}", steps=self._steps, step=self._done)
        for index, batch in enumerate(batches):
            if not _answers(log.finished.get(index), batch):
                log.append(self._complete(index, batch, suite, max_tokens))
            self._done += len(batch)
            self._context.progress.advance(self._done)
        return [log.finished[index] for index in range(len(batches))]

    def _prompt(self, suite: Suite, question: Question) -> str:
        try:
            return self._engine.prompt(question.messages)
        except InputError as error:
            raise InputError(f"suite {suite.name}: {suite.path}: question {question.id!r}: {error}") from None

    def _complete(self, index: int, batch: Sequence[Draw], suite: Suite, max_tokens: int) -> FinishedBatch:
        started = time.monotonic()
        completions = self._engine.complete(
            [draw.prompt for draw in batch],
            [draw.seed for draw in batch],
            suite.generation,
            max_tokens,
            lambda tokens: self._context.progress.advance(self._done, tokens=tokens),
        )
        seconds = time.monotonic() - started
        pairs = list(zip(batch, completions, strict=True))
        verdicts = self._judges.judge(suite, [Completed(draw.question, draw.prompt, one.text) for draw, one in pairs])
        answers = [_answer(*pair, verdict) for pair, verdict in zip(pairs, verdicts, strict=True)]
        return FinishedBatch(index, seconds, answers)


def _answer(draw: Draw, completion: Completion, verdict: Verdict) -> Answer:
    return Answer(
        id=draw.question.id,
        sample=draw.sample,
        seed=draw.seed,
        correct=int(verdict.correct),
        prediction=verdict.prediction,
        completion=completion.text,
        tokens=completion.tokens,
        truncated=completion.truncated,
        reason=verdict.reason,
    )


def _answers(finished: FinishedBatch | None, batch: Sequence[Draw]) -> bool:
    """Whether what an earlier attempt left answers this batch."""
    drawn = [] if finished is None else [(answer.id, answer.sample, answer.seed) for answer in finished.answers]
    return drawn == [(draw.question.id, draw.sample, draw.seed) for draw in batch]


def _answer_tokens(suite: Suite, longest: Draw, context_tokens: int | None) -> int:
    """`maxTokens`, or less where prompt and answer would not fit into the model's context together."""
    if context_tokens is None:
        return suite.generation.max_tokens
    room = context_tokens - longest.tokens
    if room < 1:
        raise InputError(
            f"suite {suite.name}: {suite.path}: question {longest.question.id!r} has {longest.tokens} tokens, but the "
            f"model reads {context_tokens} (max_position_embeddings): shorten or remove it"
        )
    return min(room, suite.generation.max_tokens)


def _in_order(batches: Sequence[FinishedBatch], questions: Sequence[Question]) -> list[Answer]:
    """All answers in the order of the suite's file, samples of a question together."""
    place = {question.id: number for number, question in enumerate(questions)}
    answers = [answer for batch in batches for answer in batch.answers]
    return sorted(answers, key=lambda answer: (place[answer.id], answer.sample))


def _score(suite: Suite, answers: Sequence[Answer]) -> Score:
    questions = correctness(answers)
    interval = pass_at_1(questions)
    return Score(
        suite=suite.name,
        metric=METRIC,
        value=interval.value,
        ci95=(interval.low, interval.high),
        n=len(questions),
        samples=suite.samples,
    )


def _figures(batches: Sequence[FinishedBatch]) -> dict[str, float]:
    """Questions, tokens and seconds over all suites and attempts; `truncated` is the share (0-1) of cut-off answers."""
    answers = [answer for batch in batches for answer in batch.answers]
    tokens = sum(answer.tokens for answer in answers)
    seconds = sum(batch.seconds for batch in batches)
    return {
        "questions": float(sum(answer.sample == 0 for answer in answers)),
        "tokens": float(tokens),
        "seconds": seconds,
        "tokensPerSecond": tokens / max(seconds, 1e-9),
        "truncated": sum(answer.truncated for answer in answers) / len(answers),
    }
