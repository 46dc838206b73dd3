"""What is unusual and yet right: accepted by `branchmerge validate`, and by an API server at admission."""

from __future__ import annotations

from typing import Any

from branchmerge.api.merge_methods import FACTS, PARAMETERS, BaseUse, Kind, MergeMethod
from builders import REMOVED
from invalid_specs.entry import DATA, GATE, STEP, SUITE
from invalid_specs.merges import candidates, one_step, step

TEACHER = {"endpoint": "http://vllm/v1", "model": "r1"}
ENDPOINT = {
    **TEACHER,
    "apiKeySecretRef": {"name": "teacher", "key": "api-key"},
    "limits": {
        "concurrency": 256,
        "requestsPerMinute": 600,
        "tokensPerMinute": 2_000_000,
        "maxTokens": 5_000_000_000,
        "maxCost": {"amount": "2000", "currency": "EUR"},
    },
    "prices": {"inputPerMillion": "0.55", "outputPerMillion": "2.19", "currency": "EUR"},
    "requestTimeoutSeconds": 3600,
    "retries": 0,
}
"""All that can be said of an endpoint."""
LANGUAGES = [f"{first}{second}" for first in "abcd" for second in "abcdefgh"]
LINEAR = [step("linear")]

_VALUES: dict[Kind, Any] = {Kind.NUMBER: 0.1, Kind.SHARE: 0.5, Kind.COUNT: 3, Kind.SWITCH: True}


def _with_everything(method: MergeMethod) -> dict[str, Any]:
    """A recipe of one step that gives the method all it takes."""
    facts = FACTS[method]
    models = ["math", "science", "coding"][: max(facts.least, 2) if facts.most is None else facts.most]
    fields: dict[str, Any] = {
        "parameters": {name: _VALUES[PARAMETERS[name].kind] for name in facts.parameters},
        **({"weights": [1, -0.5][: len(models)]} if facts.weighted else {}),
        **({} if facts.base is BaseUse.IGNORED else {"base": "student"}),
    }
    return one_step(method, models, **fields)


def _the_most(kind: str) -> dict[str, Any]:
    """As much as the bounds allow, names and paths of full length: every rule must stay within its cost."""
    branches = [f"branch-{'x' * 30}-{number:02}" for number in range(32)]
    suites = [f"suite-{'z' * 31}-{number:02}" for number in range(32)]
    steps = [f"step-{'y' * 32}-{number:02}" for number in range(16)]
    recipe = [
        step("linear", [*branches[1:], steps[number - 1] if number else branches[0]], name=name)
        for number, name in enumerate(steps)
    ]
    several = {"candidates": [{"name": f"candidate-{number}", "recipe": recipe} for number in range(16)]}
    return {
        "spec.branches": [
            {
                "name": name,
                "teacher": ENDPOINT,
                "data": {
                    "sources": [{"prompts": {"path": "p" * 1024}, "weight": 1.0}] * 32,
                    "limits": {"maxRows": 9},
                    "verify": {"method": "judge", "judge": {**ENDPOINT, "rubric": "r" * 1024}},
                    "require": {"languages": LANGUAGES},
                },
                "training": {"globalBatchSize": 32},
                "replay": {"fraction": 0.5, "from": [other for other in branches if other != name]},
            }
            for name in branches
        ],
        "spec.merge": {"recipe": recipe} if kind == "recipe" else several,
        "spec.evaluation": {
            "suites": [
                {"name": name, "path": "p" * 1024, "method": "exact", "role": "Test" if number else "Validation"}
                for number, name in enumerate(suites)
            ],
            "gates": [{"suite": name, "minGain": "0.1", "minScore": "0.1"} for name in suites[1:]],
        },
        "spec.workspace": {"persistentVolumeClaim": {"claimName": "models"}, "path": "/".join("a" * 512)},
    }


POD_TEMPLATE: dict[str, Any] = {
    "labels": {"team": "reasoning", "example.com/cost-centre": "42"},
    "annotations": {"k8s.v1.cni.cncf.io/networks": "rdma/ib0, rdma/ib1"},
    "env": [
        {"name": "NCCL_IB_HCA", "value": "mlx5"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
        {"name": "HTTPS_PROXY", "valueFrom": {"configMapKeyRef": {"name": "proxy", "key": "https"}}},
        {"name": "HF_HOME", "value": "/models/hub"},
    ],
    "volumes": [
        {"name": "models", "persistentVolumeClaim": {"claimName": "shared-models", "readOnly": True}},
        {"name": "ca", "configMap": {"name": "ca.example"}},
        {"name": "netrc", "secret": {"secretName": "netrc"}},
        {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "64Gi"}},
        {
            "name": "bucket",
            "csi": {
                "driver": "gcsfuse.csi.storage.gke.io",
                "readOnly": True,
                "volumeAttributes": {"bucketName": "traces"},
                "nodePublishSecretRef": {"name": "bucket"},
            },
        },
    ],
    "volumeMounts": [
        {"name": "models", "mountPath": "/models", "subPath": "hub", "readOnly": True},
        {"name": "ca", "mountPath": "/etc/ssl/custom"},
        {"name": "netrc", "mountPath": "/etc/netrc"},
        {"name": "scratch", "mountPath": "/scratch"},
        {"name": "bucket", "mountPath": "/data/traces"},
    ],
    "imagePullSecrets": [{"name": "team-registry"}],
    "serviceAccountName": "reader",
    "priorityClassName": "research",
    "schedulerName": "volcano",
}
"""All that pods can have, at once."""


def _the_most_of_pods() -> dict[str, Any]:
    """As many entries as the bounds allow, with names of full length."""
    names = [f"{'v' * 60}-{number:02}" for number in range(32)]
    keys = [f"{'.'.join('d' * 62 for _ in range(4))}/{'k' * 60}-{number:02}" for number in range(32)]
    return {
        "labels": dict.fromkeys(keys, "v" * 63),
        "annotations": dict.fromkeys(keys, "a" * 4096),
        "env": [{"name": f"{'E' * 125}_{number:02}", "value": "e" * 4096} for number in range(64)],
        "volumes": [{"name": name, "emptyDir": {}} for name in names],
        "volumeMounts": [{"name": name, "mountPath": f"/{'m' * 1000}/{name[-2:]}"} for name in names],
    }


VALID: dict[str, dict[str, Any]] = {
    "the job as it is": {},
    "a name as long as may be": {"metadata.name": "a" * 40},
    "no evaluation": {"spec.evaluation": REMOVED},
    "nulls are unset": {
        "spec.teacher": None,
        "spec.training.epochs": None,
        "spec.training.learningRate": None,
        "spec.branches.0.training": {"maxSteps": 10, "schedule": {"type": None}},
        "spec.branches.0.resources": {"pool": None},
        f"{STEP}.weights": None,
        f"{STEP}.parameters": {"t": None},
        "spec.merge.candidates": None,
        f"{SUITE}.builtin": None,
    },
    "whole numbers for fractions": {"spec.training.maxGradNorm": 1, "spec.training.epochs": 2},
    "a quantity without quotes": {"spec.resources": {"cpu": 4, "memory": "1.5Gi"}},
    "a branch counts steps where the job counts epochs": {
        "spec.training.epochs": 3,
        "spec.branches.0.training": {"maxSteps": 100},
    },
    "empty overrides": {"spec.branches.0.training": {}, "spec.branches.0.resources": {}, "spec.retry": {}},
    "branches that replay each other": {
        "spec.branches.0.replay": {"fraction": 0.999, "from": ["coding", "science"]},
        "spec.branches.1.replay": {"fraction": 0.001, "from": ["math"]},
    },
    "the most of everything, in one recipe": _the_most("recipe"),
    "the most of everything, in candidates": _the_most("candidates"),
    "prompts for a teacher": {"spec.teacher": TEACHER, f"{DATA}.sources.0": {"prompts": {"path": "prompts.jsonl"}}},
    "prompts for a branch's own teacher": {
        "spec.branches.0.teacher": TEACHER,
        f"{DATA}.sources.0": {"prompts": {"path": "prompts.jsonl"}},
    },
    "a teacher with everything": {
        "spec.teacher": {
            **ENDPOINT,
            "systemPrompt": "Think first.",
            "sampling": {"samples": 8, "temperature": 1, "topP": 1, "maxTokens": 32768, "seed": 0},
        }
    },
    "a teacher for nobody": {"spec.teacher": TEACHER},
    "columns of a pair": {f"{DATA}.sources.0.columns": {"prompt": "question", "completion": "answer"}},
    "all answers of those that nothing judges": {f"{DATA}.select": {"maxPerPrompt": 2}},
    "the shortest correct answer": {
        f"{DATA}.verify": {"method": "math"},
        f"{DATA}.select": {"strategy": "ShortestCorrect"},
    },
    "decontamination": {f"{DATA}.decontaminate": {}},
    "a pattern": {f"{DATA}.verify": {"method": "regex", "pattern": "(?:Answer: )?([A-D])"}},
    "a judge with everything": {
        f"{DATA}.verify": {"method": "judge", "judge": {**ENDPOINT, "rubric": "Is it right?", "maxTokens": 64}}
    },
    "code that is run without a sandbox": {
        f"{DATA}.verify": {"method": "code", "allowUnsandboxed": True, "tests": "cases", "timeoutSeconds": 6},
        f"{SUITE}.method": "code",
        f"{SUITE}.allowUnsandboxed": True,
        "spec.evaluation.suites.1": {"name": "guide", "builtin": "livecodebench", "allowUnsandboxed": True},
    },
    "a sandbox that nothing needs": {f"{DATA}.verify": {"method": "exact", "allowUnsandboxed": False}},
    "pass rates": {f"{DATA}.verify": {"method": "math", "minPassRate": 0.25, "maxPassRate": 0.25}},
    "rows of a form": {
        f"{DATA}.require": {"closedThink": True, "boxedAnswer": True, "languages": ["en", "de"]},
        f"{DATA}.limits": {"minTokens": 16, "maxTokens": 16, "maxCharacters": 9},
    },
    "weights and a shuffle": {
        f"{DATA}.sources": [{"path": "a.jsonl", "weight": 0.7, "maxRows": 9}, {"path": "b.jsonl", "weight": 2}],
        f"{DATA}.limits": {"maxRows": 9},
        f"{DATA}.shuffle": {"seed": 0},
        f"{DATA}.resources": {"pool": "cpu-large", "cpu": "16", "memory": "32Gi"},
    },
    "a batch that its ranks share": {"spec.resources": {"nodes": 2, "gpusPerNode": 4}},
    "a batch in pieces": {"spec.resources": {"nodes": 2}, "spec.training.microBatchSize": 2},
    "a batch of a branch's own ranks": {
        "spec.resources": {"nodes": 3},
        "spec.training.globalBatchSize": 96,
        "spec.branches.0.resources": {"nodes": 1, "gpusPerNode": 5},
        "spec.branches.0.training": {"globalBatchSize": 5},
    },
    "fewer processes than accelerators": {"spec.resources": {"gpusPerNode": 3, "processesPerNode": 4}},
    "a merge of the student": {f"{STEP}.base": "student"},
    "a step called merged": {"spec.merge.recipe.1.name": "merged"},
    "an unused step": {"spec.merge.recipe.1.models": ["math"]},
    "candidates": {"spec.merge": {"candidates": candidates(LINEAR, LINEAR), "minimumGain": "0.01"}},
    "candidates with steps": {
        "spec.merge": {"candidates": candidates([*LINEAR, step("linear", ["first", "coding"], name="second")], LINEAR)}
    },
    "several answers at a temperature": {f"{SUITE}.samples": 8, f"{SUITE}.generation": {"temperature": 0.6}},
    "several answers of a builtin suite": {SUITE: {"name": "house", "builtin": "aime24", "samples": 16}},
    "a gate of both kinds": {f"{GATE}.minScore": "1.0", f"{GATE}.minGain": "-0.5"},
    "a score without a student": {GATE: {"suite": "house", "minScore": "0"}, "spec.evaluation.models": ["merged"]},
    "no gate and no merged model": {"spec.evaluation.gates": [], "spec.evaluation.models": ["student"]},
    "a folder that looks like climbing": {
        "spec.workspace": {"persistentVolumeClaim": {"claimName": "models"}, "path": "a..b/..c/..."}
    },
    "any folder without a volume": {"spec.workspace": {"path": "/scratch/../runs"}},
    "pods with everything": {"spec.podTemplate": POD_TEMPLATE},
    "as many entries for pods as may be": {"spec.podTemplate": _the_most_of_pods()},
    "an empty template of pods": {"spec.podTemplate": {}},
    "nulls among what pods have": {
        "spec.podTemplate": {"labels": None, "env": [{"name": "HF_HOME", "value": "", "valueFrom": None}]}
    },
    "names that only look reserved": {
        "spec.podTemplate": {
            "labels": {"branchmerge.dev.example.com/team": "", "kueue": "A_b.c"},
            "annotations": {"kueue.x-k8s.io/podset-required-topology": "rack"},
            "env": [
                {"name": "RANKS", "value": "x"},
                {"name": "_PET_", "value": "y"},
                {"name": "branchmerge_", "value": ""},
            ],
            "volumes": [{"name": "workspaces", "emptyDir": {}}],
            "volumeMounts": [
                {"name": "workspaces", "mountPath": "/workspaces/.cache/b..", "subPath": ".a/b"},
                {"name": "workspaces", "mountPath": "/var/run/other"},
            ],
        }
    },
    "deleted as soon as it has ended": {"spec.ttlSecondsAfterFinished": 0, "spec.deletionPolicy": "Delete"},
    "a merge that says it is on one node": {"spec.merge.resources": {"nodes": 1, "cpu": "8"}},
    **{f"all that {method} takes": _with_everything(method) for method in MergeMethod},
}
"""Edits of `builders.make_document` by what they are about."""
