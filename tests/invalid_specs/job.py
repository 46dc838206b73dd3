"""What is wrong with single fields, the job as a whole, and its teacher."""

from __future__ import annotations

from builders import REMOVED
from invalid_specs.entry import DATA, GATE, InvalidSpec

FIELDS = (
    InvalidSpec(
        "a field's name is misspelt",
        {"spec.studnet": {"model": "models/student"}},
        "spec.studnet: unknown field: did you mean student?",
        'unknown field "spec.studnet"',
    ),
    InvalidSpec(
        "an unknown field lies deep in a list",
        {f"{DATA}.sources.0.file": "rows.jsonl"},
        "spec.branches[0].data.sources[0].file: unknown field: use one of columns, dataset, maxRows, path, "
        "prompts, weight",
        'unknown field "spec.branches[0].data.sources[0].file"',
    ),
    InvalidSpec(
        "a required field is missing",
        {"spec.student": REMOVED},
        "spec.student: required, but missing: add it",
        "spec.student: Required value",
    ),
    InvalidSpec(
        "a required field is null",
        {"spec.student.model": None},
        "spec.student.model: required, but missing: add it",
        "spec.student.model: Required value",
    ),
    InvalidSpec(
        "a number is in quotes",
        {"spec.training.learningRate": "1e-5"},
        "spec.training.learningRate: '1e-5' is no number: write one, without quotes",
        'spec.training.learningRate in body must be of type number: "string"',
    ),
    InvalidSpec(
        "a whole number has a fraction",
        {"spec.training.seed": 1.5},
        "spec.training.seed: 1.5 is no whole number: write one, without quotes",
        'spec.training.seed in body must be of type int32: "float64"',
    ),
    InvalidSpec(
        "a switch is a word",
        {"spec.suspend": "yes"},
        "spec.suspend: 'yes' is neither true nor false: write one of them",
        'spec.suspend in body must be of type boolean: "string"',
    ),
    InvalidSpec(
        "a number stands for text",
        {f"{GATE}.minGain": 0.02},
        "spec.evaluation.gates[0].minGain: 0.02 is no text: put it in quotes",
        'spec.evaluation.gates[0].minGain in body must be of type string: "number"',
    ),
    InvalidSpec(
        "a map stands for a list",
        {"spec.branches": {"math": {}}},
        "spec.branches: {'math': {}} is no list: write entries that begin with a dash",
        'unknown field "spec.branches.math"',
    ),
    InvalidSpec(
        "text stands for a map",
        {"spec.student": "models/student"},
        "spec.student: 'models/student' is no map: write `name: value` pairs",
        "spec.student in body must be of type object",
    ),
    InvalidSpec(
        "a number is not finite",
        {"spec.training.maxGradNorm": float("inf")},
        "spec.training.maxGradNorm: inf is no finite number: write one",
        None,  # JSON has no such number, so no object with it reaches an API server
    ),
    InvalidSpec(
        "a word is none of the choices",
        {"spec.failurePolicy": "failfast"},
        "spec.failurePolicy: 'failfast' is unknown: use 'FailFast' or 'Continue'",
        'spec.failurePolicy: Unsupported value: "failfast": supported values: "FailFast", "Continue"',
    ),
    InvalidSpec(
        "the API version is another",
        {"apiVersion": "branchmerge.dev/v1"},
        "apiVersion: 'branchmerge.dev/v1' is unknown: use 'branchmerge.dev/v1alpha1'",
        None,  # kubectl finds no such kind
    ),
)

JOB = (
    InvalidSpec(
        "the job's name leaves no room for the names of children",
        {"metadata.name": "a" * 41},
        f"metadata.name: {'a' * 41!r} is too long: use 40 characters or fewer",
        "metadata.name: Too long: may not be more than 40 bytes",
    ),
    InvalidSpec(
        "the job's name begins with a digit, which no Service may",
        {"metadata.name": "1b-run"},
        "metadata.name: '1b-run' does not fit: use lower-case letters, digits and dashes, a letter first and a letter "
        "or digit last",
        "use lower-case letters, digits and dashes, a letter first and a letter or digit last",
    ),
    InvalidSpec(
        "the job's name has a dot",
        {"metadata.name": "tiny.r1"},
        "metadata.name: 'tiny.r1' does not fit: use lower-case letters, digits and dashes, a letter first and a letter "
        "or digit last",
        "use lower-case letters, digits and dashes, a letter first and a letter or digit last",
    ),
    InvalidSpec(
        "a deadline of no time",
        {"spec.deadlineSeconds": 0},
        "spec.deadlineSeconds: 0 is too small: use 1 or more",
        "spec.deadlineSeconds in body should be greater than or equal to 1",
    ),
    InvalidSpec(
        "a negative budget",
        {"spec.retry": {"failures": -1}},
        "spec.retry.failures: -1 is too small: use 0 or more",
        "spec.retry.failures in body should be greater than or equal to 0",
    ),
    InvalidSpec(
        "the workspace climbs out of its volume",
        {"spec.workspace": {"persistentVolumeClaim": {"claimName": "models"}, "path": "a/../../etc"}},
        "spec.workspace.path: 'a/../../etc': a folder within the volume: write it without a leading / and without ..",
        "a folder within the volume: write it without a leading / and without ..",
    ),
    InvalidSpec(
        "the workspace is no folder of its volume",
        {"spec.workspace": {"persistentVolumeClaim": {"claimName": "models"}, "path": "/etc"}},
        "spec.workspace.path: '/etc': a folder within the volume: write it without a leading / and without ..",
        "a folder within the volume: write it without a leading / and without ..",
    ),
    InvalidSpec(
        "no node",
        {"spec.resources": {"nodes": 0}},
        "spec.resources.nodes: 0 is too small: use 1 or more",
        "spec.resources.nodes in body should be greater than or equal to 1",
    ),
    InvalidSpec(
        "a quantity of an unknown unit",
        {"spec.resources": {"memory": "16GB"}},
        "spec.resources.memory: '16GB' does not fit: use a quantity such as 8, 500m or 16Gi",
        "spec.resources.memory in body should match",
    ),
    InvalidSpec(
        "a negative quantity",
        {"spec.resources": {"cpu": -1}},
        "spec.resources.cpu: '-1' does not fit: use a quantity such as 8, 500m or 16Gi",
        "spec.resources.cpu in body should be greater than or equal to 0",
    ),
    InvalidSpec(
        "a merge on several nodes",
        {"spec.merge.resources": {"nodes": 2}},
        "spec.merge.resources.nodes: 2, but only training runs on several nodes: remove it",
        "only training runs on several nodes: remove it",
    ),
    InvalidSpec(
        "an evaluation on several nodes",
        {"spec.evaluation.resources": {"nodes": 2}},
        "spec.evaluation.resources.nodes: 2, but only training runs on several nodes: remove it",
        "only training runs on several nodes: remove it",
    ),
)

TEACHER_OF_ITS_OWN = {"endpoint": "http://vllm/v1", "model": "r1"}

TEACHER = (
    InvalidSpec(
        "the teacher's endpoint is no URL",
        {"spec.teacher": {"endpoint": "vllm.svc/v1", "model": "r1"}},
        "spec.teacher.endpoint: 'vllm.svc/v1' does not fit: use a URL that begins with https:// or http:// and a host: "
        "keys and passwords belong in a Secret",
        "spec.teacher.endpoint in body should match",
    ),
    InvalidSpec(
        "a password in the teacher's endpoint",
        {"spec.teacher": {"endpoint": "http://user:secret@vllm/v1", "model": "r1"}},
        "spec.teacher.endpoint: 'http://user:secret@vllm/v1' does not fit: use a URL that begins with https:// or "
        "http:// and a host: keys and passwords belong in a Secret",
        "spec.teacher.endpoint in body should match",
    ),
    InvalidSpec(
        "sampling from nothing",
        {"spec.teacher": {"endpoint": "http://vllm/v1", "model": "r1", "sampling": {"topP": 0}}},
        "spec.teacher.sampling.topP: 0 is too small: use more than 0.0",
        "spec.teacher.sampling.topP in body should be greater than 0",
    ),
    InvalidSpec(
        "a negative amount of money",
        {"spec.teacher": {"endpoint": "http://vllm/v1", "model": "r1", "limits": {"maxCost": {"amount": "-5"}}}},
        "spec.teacher.limits.maxCost.amount: '-5' does not fit: use a decimal number in quotes, such as '2000'",
        "spec.teacher.limits.maxCost.amount in body should match",
    ),
    InvalidSpec(
        "a currency by its sign",
        {
            "spec.teacher": {
                "endpoint": "http://vllm/v1",
                "model": "r1",
                "limits": {"maxCost": {"amount": "5", "currency": "$"}},
            }
        },
        "spec.teacher.limits.maxCost.currency: '$' does not fit: use three capital letters, such as USD",
        "spec.teacher.limits.maxCost.currency in body should match",
    ),
    InvalidSpec(
        "prompts that nobody answers",
        {f"{DATA}.sources.0": {"prompts": {"path": "prompts.jsonl"}}},
        "spec.branches[0].data.sources[0].prompts: nobody answers them: add spec.teacher, or a teacher to the branch",
        "nobody answers the prompts of a branch: add spec.teacher, or a teacher to the branch",
    ),
    InvalidSpec(
        "prompts of one branch, and the teacher of another",
        {"spec.branches.1.teacher": TEACHER_OF_ITS_OWN, f"{DATA}.sources.0": {"prompts": {"path": "prompts.jsonl"}}},
        "spec.branches[0].data.sources[0].prompts: nobody answers them: add spec.teacher, or a teacher to the branch",
        "nobody answers the prompts of a branch: add spec.teacher, or a teacher to the branch",
    ),
    InvalidSpec(
        "a budget of money where nothing has a price",
        {"spec.teacher": {**TEACHER_OF_ITS_OWN, "limits": {"maxCost": {"amount": "5"}}}},
        "spec.teacher.limits.maxCost: 5 USD, but nothing says what tokens cost: add prices",
        "spec.teacher.limits.maxCost: Invalid value: nothing says what tokens cost: add prices",
    ),
    InvalidSpec(
        "a budget in another currency than the prices",
        {
            "spec.branches.0.teacher": {
                **TEACHER_OF_ITS_OWN,
                "limits": {"maxCost": {"amount": "5"}},
                "prices": {"inputPerMillion": "1", "outputPerMillion": "4", "currency": "CNY"},
            }
        },
        "spec.branches[0].teacher.limits.maxCost.currency: 'USD', but prices are in CNY: use one for both",
        "spec.branches[0].teacher.limits.maxCost: Invalid value: prices are in another currency: use one for both",
    ),
    InvalidSpec(
        "a price below nothing",
        {"spec.teacher": {**TEACHER_OF_ITS_OWN, "prices": {"inputPerMillion": "1", "outputPerMillion": "-4"}}},
        "spec.teacher.prices.outputPerMillion: '-4' does not fit: use a decimal number in quotes, such as '2000'",
        "spec.teacher.prices.outputPerMillion in body should match",
    ),
)
