"""Whether a completion is right: what of it counts, and the comparison for exact answers, letters and patterns."""

from __future__ import annotations

import re
from string import ascii_uppercase

from branchmerge_trainer.verify.verdict import NO_ANSWER, Verdict, compared

THINK, END_THINK = "<think>", "</think>"


def final_text(prompt: str, completion: str) -> str | None:
    """What follows the last `</think>`, or all where there was no trace; None where a trace was never closed.

    A trace may be opened by the completion, or by the end of the prompt, as R1's chat template does it.
    """
    _, closed, answer = completion.rpartition(END_THINK)
    if not closed and (THINK in completion or prompt.rstrip().endswith(THINK)):
        return None
    return answer.strip()


def score_exact(text: str, answer: str) -> Verdict:
    """Equal texts, white space around them apart."""
    text = text.strip()
    return compared(text == answer.strip(), text) if text else NO_ANSWER


def score_regex(text: str, pattern: str, answer: str | None) -> Verdict:
    """The whole text must match; where the pattern has a group, what it holds must equal the answer.

    Python's own engine: it may take for ever, so call it where it can be given up.
    """
    match = re.fullmatch(pattern, text.strip(), re.DOTALL)
    if match is None:
        return NO_ANSWER
    if not match.re.groups:
        return compared(True, match[0])
    assert answer is not None, "a pattern with a group has a reference"
    found = (match[1] or "").strip()
    return compared(found == answer.strip(), found)


def score_choice(text: str, answer: str, choices: tuple[str, ...] = ()) -> Verdict:
    """Equal letters; `answer` is a capital."""
    letter = chosen_letter(text, choices)
    return NO_ANSWER if letter is None else compared(letter == answer, letter)


def reference_letter(answer: str, choices: tuple[str, ...] = ()) -> str:
    """The capital that a reference answer names: by itself, in either case, or by the text of exactly one choice.

    Raises ValueError, saying what to write, where it names none.
    """
    letters = ascii_uppercase[: len(choices)] if choices else ascii_uppercase
    letter = answer.strip().upper()
    if len(letter) == 1 and letter in letters:
        return letter
    if named := _choice_text(answer.strip(), choices):
        return named
    raise ValueError(f"is {answer!r}: write one letter, {letters[0]} to {letters[-1]}")


def chosen_letter(text: str, choices: tuple[str, ...] = ()) -> str | None:
    """The letter that the text settles on, or None.

    In this order, the last match of each: a boxed letter; one that is said to be the answer (`the answer is (B)`,
    `Answer: B`, `option B is correct`); a text or last line that is a letter, or begins with one and a mark
    (`B) because…`, `Option B.`); the text of exactly one choice; a capital that stands alone.
    """
    letters = ascii_uppercase[: len(choices)] if choices else ascii_uppercase
    plain = re.sub(r"[*_`$]|\\(?:text|textbf|mathrm|mathbf)\b", "", text).strip()
    return (
        _last(_BOXED, plain, letters)
        or _last(_SAID, plain, letters)
        or _last(_CONFIRMED, plain, letters)
        or _line_letter(plain, letters)
        or _choice_text(plain, choices)
        or _last(_ALONE, plain, letters)
    )


_LETTER = r"[\[({]*([A-Za-z])(?![A-Za-z'’])"
_BOXED = re.compile(r"\\boxed\s*" + _LETTER)
_IS = r"(?:is|are|should\s+be|would\s+be|must\s+be)\b"
_SAID = re.compile(
    rf"(?i:(?:answers?|(?:choice|option)(?=\s+{_IS}|\s*[:=]))\b(?:\s+{_IS})?\s*[:=]?\s*(?:(?:option|choice)\s+)?)"
    r"[\[({]*\b([A-Z](?![A-Za-z'’])|[a-z](?=[\])}]|[.!]?\s*$))",
    re.MULTILINE,
)
"""A small letter may be the article: it counts before a bracket, or where the line ends with it."""
_CONFIRMED = re.compile(r"[\[(]?\b([A-Z])\b[\])]?\s+is\s+(?:the\s+)?(?:correct|right|best)\b")
_LINE = re.compile(r"(?:(?i:option|choice)\s+)?[\[(]?([A-Za-z])(?:[\])]|[.:)](?:\s|$)|\s*$)")
_ALONE = re.compile(r"(?<![A-Za-z'’])([A-Z])(?![A-Za-z'’])(?!\s+[a-z])")
"""A capital between other characters than letters, but no article or pronoun before a word (`A cat`, `I think`)."""


def _last(pattern: re.Pattern[str], text: str, letters: str) -> str | None:
    found = [match.upper() for match in pattern.findall(text) if match.upper() in letters]
    return found[-1] if found else None


def _line_letter(text: str, letters: str) -> str | None:
    lines = text.splitlines()
    for line in (text, lines[-1].strip() if lines else ""):
        match = _LINE.match(line)
        if match and match[1].upper() in letters:
            return match[1].upper()
    return None


def _choice_text(text: str, choices: tuple[str, ...]) -> str | None:
    wanted = text.rstrip(".").casefold()
    matching = [
        letter
        for letter, choice in zip(ascii_uppercase, choices, strict=False)
        if choice.strip().rstrip(".").casefold() == wanted
    ]
    return matching[0] if len(matching) == 1 else None
