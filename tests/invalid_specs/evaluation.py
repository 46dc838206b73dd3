"""What is wrong with suites and gates."""

from __future__ import annotations

from builders import REMOVED
from invalid_specs.entry import GATE, SUITE, InvalidSpec

EVALUATION = (
    InvalidSpec(
        "two suites of one name",
        {"spec.evaluation.suites.1.name": "house"},
        "spec.evaluation.suites: 'house' is there 2 times: give each suite a name of its own",
        'spec.evaluation.suites[1]: Duplicate value: {"name":"house"}',
    ),
    InvalidSpec(
        "a suite in two places",
        {f"{SUITE}.builtin": "aime24"},
        "spec.evaluation.suites[0]: set exactly one of builtin and path",
        "spec.evaluation.suites[0]: Invalid value: set exactly one of builtin and path",
    ),
    InvalidSpec(
        "a suite without its method",
        {f"{SUITE}.method": REMOVED},
        "spec.evaluation.suites[0]: a path needs a method: add exact, choice, math or code",
        "a path needs a method: add exact, choice, math or code",
    ),
    InvalidSpec(
        "a builtin suite with a method",
        {SUITE: {"name": "house", "builtin": "aime24", "method": "exact"}},
        "spec.evaluation.suites[0].method: a builtin suite has its own: remove it",
        "a builtin suite has its own: remove it",
    ),
    InvalidSpec(
        "several answers that are all equal",
        {f"{SUITE}.samples": 8},
        "spec.evaluation.suites[0].samples: 8, but several answers at temperature 0 are all equal: set "
        "generation.temperature, or remove samples",
        "several answers at temperature 0 are all equal: set generation.temperature, or remove samples",
    ),
    InvalidSpec(
        "a suite that runs nothing, without a sandbox",
        {f"{SUITE}.allowUnsandboxed": True},
        "spec.evaluation.suites[0].allowUnsandboxed: only suites of code run anything: remove it",
        "only suites of code run anything: remove it",
    ),
    InvalidSpec(
        "a suite that a model judges",
        {f"{SUITE}.method": "judge"},
        "spec.evaluation.suites[0].method: 'judge' is unknown: use 'exact', 'choice', 'math' or 'code'",
        'spec.evaluation.suites[0].method: Unsupported value: "judge"',
    ),
    InvalidSpec(
        "models that are named twice",
        {"spec.evaluation.models": ["student", "merged", "student"]},
        "spec.evaluation.models: 'student' is there 2 times: name each once",
        'spec.evaluation.models[2]: Duplicate value: "student"',
    ),
    InvalidSpec(
        "a branch among the groups of models",
        {"spec.evaluation.models": ["math"]},
        "spec.evaluation.models[0]: 'math' is unknown: use 'student', 'specialists' or 'merged'",
        'spec.evaluation.models[0]: Unsupported value: "math"',
    ),
    InvalidSpec(
        "a gate of an unknown suite",
        {f"{GATE}.suite": "home"},
        "spec.evaluation.gates[0].suite: no suite 'home': use one of guide, house",
        "spec.evaluation.gates: Invalid value: a gate names no suite of this evaluation: use the name of one of suites",
    ),
    InvalidSpec(
        "a gate of a Validation suite",
        {f"{GATE}.suite": "guide"},
        "spec.evaluation.gates[0].suite: 'guide' has the role Validation: gates use Test suites",
        "a gate names a suite with the role Validation: gates use Test suites",
    ),
    InvalidSpec(
        "a gate that asks nothing",
        {f"{GATE}.minGain": REMOVED},
        "spec.evaluation.gates[0]: set minScore, minGain or both",
        "spec.evaluation.gates[0]: Invalid value: set minScore, minGain or both",
    ),
    InvalidSpec(
        "a score in percent",
        {f"{GATE}.minScore": "70"},
        "spec.evaluation.gates[0].minScore: '70': a score is a share: use a number from 0 to 1",
        'spec.evaluation.gates[0].minScore: Invalid value: "70": a score is a share: use a number from 0 to 1',
    ),
    InvalidSpec(
        "a gain in percent",
        {f"{GATE}.minGain": "-2.5"},
        "spec.evaluation.gates[0].minGain: '-2.5': a gain is a difference of shares: use a number from -1 to 1",
        "a gain is a difference of shares: use a number from -1 to 1",
    ),
    InvalidSpec(
        "a score in words",
        {f"{GATE}.minScore": "high"},
        "spec.evaluation.gates[0].minScore: 'high' does not fit: use a decimal number in quotes, such as '0.02'",
        "spec.evaluation.gates[0].minScore in body should match",
    ),
    InvalidSpec(
        "gates without the merged model",
        {"spec.evaluation.models": ["student"]},
        "spec.evaluation.gates: they judge the merged model: add merged to models",
        "they judge the merged model: add merged to models",
    ),
    InvalidSpec(
        "a gain over a student who is not measured",
        {"spec.evaluation.models": ["merged"]},
        "spec.evaluation.gates[0]: minGain compares with the student: add student to models",
        "minGain compares with the student: add student to models",
    ),
)
