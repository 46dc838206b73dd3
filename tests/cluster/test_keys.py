"""API keys of teachers on a cluster: from the Secret into the one pod that needs it, and nowhere else."""

import json

from deployment.bench import Bench, quick_job
from localcluster.reading import Object

KEY = "sk-a-key-that-nobody-may-see"
VARIABLE = "BRANCHMERGE_TEACHER_API_KEY"
SHOWN = "distillationjobs,jobs,pytorchjobs,pods,configmaps,events"
"""What somebody who may not read Secrets may see of a namespace."""
SLOW = {"steps": 600, "seconds": 0.1}


def taught(name: str, **quick: Object) -> Object:
    """A job whose branch `math` starts from prompts."""
    job = quick_job(name, quick)
    job["spec"]["teacher"] = {
        "endpoint": "https://teacher.invalid/v1",
        "model": "teacher-1",
        "apiKeySecretRef": {"name": "teacher", "key": "api-key"},
    }
    job["spec"]["branches"][0]["data"] = {"sources": [{"prompts": {"path": "prompts.jsonl"}}]}
    return job


def test_a_key_reaches_the_curation_alone_and_is_seen_nowhere(bench: Bench) -> None:
    bench.apply(taught("taught", **{"curate/math": SLOW, "train/coding": SLOW}))
    bench.wait_reason("taught", "curate/math", "CreateContainerConfigError", 'secret "teacher" not found')
    bench.kubectl("create", "secret", "generic", "teacher", "-n", bench.namespace, f"--from-literal=api-key={KEY}")
    bench.wait_steps("curate/math", 1, job="taught")
    bench.wait_steps("train/coding", 1, job="taught")

    assert environment(bench, "curate/math")[VARIABLE] == KEY
    assert KEY not in environment(bench, "train/coding").values()
    shown = json.dumps(bench.kubectl.find(SHOWN, bench.namespace))
    assert VARIABLE in shown, "by reference"
    assert KEY not in shown
    (operator,) = bench.operator_pods()
    assert KEY not in bench.kubectl("logs", operator, "-n", bench.namespace)
    assert not [path for path in bench.folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def environment(bench: Bench, stage: str) -> dict[str, str]:
    """The environment in the pod of a stage."""
    (pod,) = bench.pods_of("taught", stage)
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    printed = bench.kubectl("exec", pod["metadata"]["name"], "-n", bench.namespace, "--", "python", "-c", program)
    found: dict[str, str] = json.loads(printed)
    return found
