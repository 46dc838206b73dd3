"""What is wrong with branches, their data and their training."""

from __future__ import annotations

from builders import REMOVED
from invalid_specs.entry import DATA, InvalidSpec

BRANCHES = (
    InvalidSpec(
        "no branch",
        {"spec.branches": []},
        "spec.branches: has 0 entries: give 1 or more",
        "spec.branches in body should have at least 1 items",
    ),
    InvalidSpec(
        "two branches of one name",
        {"spec.branches.1.name": "math"},
        "spec.branches: 'math' is there 2 times: give each branch a name of its own",
        'spec.branches[1]: Duplicate value: {"name":"math"}',
    ),
    InvalidSpec(
        "a branch with the student's name",
        {"spec.branches.0.name": "student"},
        "spec.branches[0].name: 'student' is the name of another model of the job: choose another name",
        'spec.branches[0].name: Invalid value: "student": is the name of another model of the job: choose another name',
    ),
    InvalidSpec(
        "a branch with the merged model's name",
        {"spec.branches.0.name": "merged"},
        "spec.branches[0].name: 'merged' is the name of another model of the job: choose another name",
        "is the name of another model of the job: choose another name",
    ),
    InvalidSpec(
        "a branch's name with an underscore",
        {"spec.branches.0.name": "long_math"},
        "spec.branches[0].name: 'long_math' does not fit: use lower-case letters, digits and dashes, with a letter or "
        "digit at both ends",
        "spec.branches[0].name in body should match",
    ),
    InvalidSpec(
        "a branch replays itself",
        {"spec.branches.2.replay.from": ["science"]},
        "spec.branches[2].replay.from: 'science': a branch's own rows are no replay: name other branches",
        "a branch's own rows are no replay: name other branches",
    ),
    InvalidSpec(
        "a branch replays one that is not there",
        {"spec.branches.2.replay.from": ["history"]},
        "spec.branches[2].replay.from: no branch 'history': use one of math, coding",
        "a replay.from names no branch: use the name of another branch",
    ),
    InvalidSpec(
        "a branch replays another one twice",
        {"spec.branches.2.replay.from": ["math", "math"]},
        "spec.branches[2].replay.from: 'math' is there 2 times: name each branch once",
        'spec.branches[2].replay.from[1]: Duplicate value: "math"',
    ),
    InvalidSpec(
        "nothing but replay",
        {"spec.branches.2.replay.fraction": 1.0},
        "spec.branches[2].replay.fraction: 1.0 is too large: use less than 1.0",
        "spec.branches[2].replay.fraction in body should be less than 1",
    ),
)

DATA_OF_A_BRANCH = (
    InvalidSpec(
        "a source in two places",
        {f"{DATA}.sources.0": {"path": "a.jsonl", "dataset": {"repo": "acme/a"}}},
        "spec.branches[0].data.sources[0]: set exactly one of dataset, path and prompts",
        "spec.branches[0].data.sources[0]: Invalid value: set exactly one of dataset, path and prompts",
    ),
    InvalidSpec(
        "a source in no place",
        {f"{DATA}.sources.0": {"columns": {"messages": "messages"}}},
        "spec.branches[0].data.sources[0]: set exactly one of dataset, path and prompts",
        "set exactly one of dataset, path and prompts",
    ),
    InvalidSpec(
        "prompts in two places",
        {
            "spec.teacher": {"endpoint": "http://vllm/v1", "model": "r1"},
            f"{DATA}.sources.0": {"prompts": {"path": "p.jsonl", "dataset": {"repo": "acme/p"}}},
        },
        "spec.branches[0].data.sources[0].prompts: set exactly one of dataset and path",
        "set exactly one of dataset and path",
    ),
    InvalidSpec(
        "columns beside prompts",
        {
            "spec.teacher": {"endpoint": "http://vllm/v1", "model": "r1"},
            f"{DATA}.sources.0": {"prompts": {"path": "p.jsonl"}, "columns": {"messages": "messages"}},
        },
        "spec.branches[0].data.sources[0].columns: does not apply to prompts: use prompts.column",
        "does not apply to prompts: use prompts.column",
    ),
    InvalidSpec(
        "columns of both shapes",
        {f"{DATA}.sources.0.columns": {"messages": "m", "prompt": "p", "completion": "c"}},
        "spec.branches[0].data.sources[0].columns: set either messages, or prompt and completion",
        "set either messages, or prompt and completion",
    ),
    InvalidSpec(
        "a prompt without its completion",
        {f"{DATA}.sources.0.columns": {"prompt": "question"}},
        "spec.branches[0].data.sources[0].columns: prompt and completion belong together: set both",
        "prompt and completion belong together: set both",
    ),
    InvalidSpec(
        "the shortest correct answer, of answers that nothing judges",
        {f"{DATA}.select": {"strategy": "ShortestCorrect"}},
        "spec.branches[0].data.select.strategy: ShortestCorrect, but only a verified answer is known to be correct: "
        "add verify, or use strategy: All",
        "only a verified answer is known to be correct: add verify, or use strategy: All",
    ),
    InvalidSpec(
        "decontamination with nothing to compare with",
        {"spec.evaluation": REMOVED, f"{DATA}.decontaminate": {}},
        "spec.branches[0].data.decontaminate: compares with the suites of spec.evaluation: add it",
        "data.decontaminate compares with the suites of spec.evaluation: add it",
    ),
)

_JUDGE = {"endpoint": "http://judge/v1", "model": "r1", "rubric": "Is it right?"}

VERIFICATION = (
    InvalidSpec(
        "a pattern that is missing",
        {f"{DATA}.verify": {"method": "regex"}},
        "spec.branches[0].data.verify: method regex needs a pattern, and no other method has one",
        "spec.branches[0].data.verify: Invalid value: method regex needs a pattern, and no other method has one",
    ),
    InvalidSpec(
        "a pattern that nothing uses",
        {f"{DATA}.verify": {"method": "exact", "pattern": "yes|no"}},
        "spec.branches[0].data.verify: method regex needs a pattern, and no other method has one",
        "method regex needs a pattern, and no other method has one",
    ),
    InvalidSpec(
        "a pattern that is none",
        {f"{DATA}.verify": {"method": "regex", "pattern": "(yes|no"}},
        "spec.branches[0].data.verify.pattern: '(yes|no' is no regular expression: missing ), unterminated subpattern "
        "at position 0",
        None,  # CEL knows other regular expressions than Python
    ),
    InvalidSpec(
        "a pattern of which nobody knows what is the answer",
        {f"{DATA}.verify": {"method": "regex", "pattern": "(yes)|(no)"}},
        "spec.branches[0].data.verify.pattern: '(yes)|(no)' has 2 groups: use one at most, and (?:…) for the others",
        None,
    ),
    InvalidSpec(
        "a judge who is missing",
        {f"{DATA}.verify": {"method": "judge"}},
        "spec.branches[0].data.verify: method judge needs a judge, and no other method has one",
        "method judge needs a judge, and no other method has one",
    ),
    InvalidSpec(
        "a judge who is not asked",
        {f"{DATA}.verify": {"method": "math", "judge": _JUDGE}},
        "spec.branches[0].data.verify: method judge needs a judge, and no other method has one",
        "method judge needs a judge, and no other method has one",
    ),
    InvalidSpec(
        "a judge without a rubric",
        {f"{DATA}.verify": {"method": "judge", "judge": {"endpoint": "http://judge/v1", "model": "r1"}}},
        "spec.branches[0].data.verify.judge.rubric: required, but missing: add it",
        "spec.branches[0].data.verify.judge.rubric: Required value",
    ),
    InvalidSpec(
        "a judge whose budget of money has no prices",
        {f"{DATA}.verify": {"method": "judge", "judge": {**_JUDGE, "limits": {"maxCost": {"amount": "5"}}}}},
        "spec.branches[0].data.verify.judge.limits.maxCost: 5 USD, but nothing says what tokens cost: add prices",
        "nothing says what tokens cost: add prices",
    ),
    InvalidSpec(
        "no sandbox for what runs nothing",
        {f"{DATA}.verify": {"method": "math", "allowUnsandboxed": True}},
        "spec.branches[0].data.verify.allowUnsandboxed: only method code runs anything: remove it",
        "only method code runs anything: remove it",
    ),
    InvalidSpec(
        "a pass rate of answers that nothing judges",
        {f"{DATA}.verify": {"method": "none", "minPassRate": 0.5}},
        "spec.branches[0].data.verify: pass rates count right answers, but method none judges none: choose a method",
        "pass rates count right answers, but method none judges none: choose a method",
    ),
    InvalidSpec(
        "pass rates that no prompt has",
        {f"{DATA}.verify": {"method": "math", "minPassRate": 0.8, "maxPassRate": 0.2}},
        "spec.branches[0].data.verify: minPassRate is above maxPassRate: no prompt would be left",
        "minPassRate is above maxPassRate: no prompt would be left",
    ),
    InvalidSpec(
        "a pass rate in percent",
        {f"{DATA}.verify": {"method": "math", "minPassRate": 50}},
        "spec.branches[0].data.verify.minPassRate: 50 is too large: use 1.0 or less",
        "spec.branches[0].data.verify.minPassRate in body should be less than or equal to 1",
    ),
)

ROWS = (
    InvalidSpec(
        "a source of no weight",
        {f"{DATA}.limits": {"maxRows": 9}, f"{DATA}.sources.0": {"path": "a.jsonl", "weight": 0}},
        "spec.branches[0].data.sources[0].weight: 0 is too small: use more than 0.0",
        "spec.branches[0].data.sources[0].weight in body should be greater than 0",
    ),
    InvalidSpec(
        "a weight beside a source that has none",
        {
            f"{DATA}.limits": {"maxRows": 9},
            f"{DATA}.sources": [{"path": "a.jsonl", "weight": 1}, {"path": "b.jsonl"}],
        },
        "spec.branches[0].data.sources[1]: weights are compared with each other: give every source one, or none",
        "weights are compared with each other: give every source one, or none",
    ),
    InvalidSpec(
        "weights with nothing to share out",
        {f"{DATA}.sources.0": {"path": "a.jsonl", "weight": 1}},
        "spec.branches[0].data.sources: weights share out limits.maxRows: set it, or remove them",
        "weights share out limits.maxRows: set it, or remove them",
    ),
    InvalidSpec(
        "limits that no row keeps",
        {f"{DATA}.limits": {"minTokens": 512, "maxTokens": 128}},
        "spec.branches[0].data.limits: minTokens is above maxTokens: no row would be left",
        "minTokens is above maxTokens: no row would be left",
    ),
    InvalidSpec(
        "a language by its name",
        {f"{DATA}.require": {"languages": ["English"]}},
        "spec.branches[0].data.require.languages[0]: 'English' is too long: use 2 characters or fewer",
        "spec.branches[0].data.require.languages[0]: Too long",
    ),
    InvalidSpec(
        "a language in capitals",
        {f"{DATA}.require": {"languages": ["EN"]}},
        "spec.branches[0].data.require.languages[0]: 'EN' does not fit: use two lower-case letters, such as en",
        "spec.branches[0].data.require.languages[0] in body should match",
    ),
    InvalidSpec(
        "a language that is named twice",
        {f"{DATA}.require": {"languages": ["en", "en"]}},
        "spec.branches[0].data.require.languages: 'en' is there 2 times: name each once",
        'spec.branches[0].data.require.languages[1]: Duplicate value: "en"',
    ),
    InvalidSpec(
        "a curation on several nodes",
        {f"{DATA}.resources": {"nodes": 2}},
        "spec.branches[0].data.resources.nodes: 2, but only training runs on several nodes: remove it",
        "only training runs on several nodes: remove it",
    ),
)

TRAINING = (
    InvalidSpec(
        "two lengths of training",
        {"spec.training": {"epochs": 3, "maxSteps": 100}},
        "spec.training: set epochs or maxSteps, not both",
        "spec.training: Invalid value: set epochs or maxSteps, not both",
    ),
    InvalidSpec(
        "two lengths of a branch's training",
        {"spec.branches.0.training": {"epochs": 3, "maxSteps": 100}},
        "spec.branches[0].training: set epochs or maxSteps, not both",
        "spec.branches[0].training: Invalid value: set epochs or maxSteps, not both",
    ),
    InvalidSpec(
        "an optimizer with one beta",
        {"spec.training.optimizer": {"betas": [0.9]}},
        "spec.training.optimizer.betas: has 1 entries: give 2 or more",
        "spec.training.optimizer.betas in body should have at least 2 items",
    ),
    InvalidSpec(
        "a moment that never decays",
        {"spec.training.optimizer": {"betas": [0.9, 1.0]}},
        "spec.training.optimizer.betas[1]: 1.0 is too large: use less than 1.0",
        "spec.training.optimizer.betas[1] in body should be less than 1",
    ),
    InvalidSpec(
        "a schedule that does not exist",
        {"spec.branches.0.training": {"schedule": {"type": "cosin"}}},
        "spec.branches[0].training.schedule.type: 'cosin' is unknown: use 'constant', 'constant_with_warmup', "
        "'linear', 'cosine' or 'cosine_with_min_lr'",
        'spec.branches[0].training.schedule.type: Unsupported value: "cosin"',
    ),
    InvalidSpec(
        "a batch that its ranks cannot share",
        {"spec.resources": {"nodes": 3}},
        "spec.branches[0].training.globalBatchSize: 8 is no multiple of 3 ranks x microBatchSize 1 = 3: use 6 or 9",
        "globalBatchSize must be a multiple of nodes x processes a node (one a GPU) x microBatchSize, in every branch",
    ),
    InvalidSpec(
        "a batch smaller than its ranks",
        {"spec.branches.0.resources": {"nodes": 2, "gpusPerNode": 8}},
        "spec.branches[0].training.globalBatchSize: 8 is no multiple of 16 ranks x microBatchSize 1 = 16: use 16",
        "globalBatchSize must be a multiple of nodes x processes a node (one a GPU) x microBatchSize, in every branch",
    ),
)
