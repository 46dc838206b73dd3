"""What is wrong with pods and with the end of a job."""

from __future__ import annotations

from typing import Any

from invalid_specs.entry import InvalidSpec

_TEMPLATE = "spec.podTemplate"
_KEY_HINT = "use a name such as team or example.com/team"
_ONE_KIND = "set exactly one of persistentVolumeClaim, secret, configMap, emptyDir and csi"


def _env(name: str, **fields: Any) -> dict[str, Any]:
    return {_TEMPLATE: {"env": [{"name": name, **fields}]}}


def _volume(name: str, **kinds: Any) -> dict[str, Any]:
    return {_TEMPLATE: {"volumes": [{"name": name, **kinds}]}}


def _mount(path: str, name: str = "data", **fields: Any) -> dict[str, Any]:
    return {
        _TEMPLATE: {
            "volumes": [{"name": "data", "emptyDir": {}}],
            "volumeMounts": [{"name": name, "mountPath": path, **fields}],
        }
    }


PODS = (
    InvalidSpec(
        "a job that goes before it has ended",
        {"spec.ttlSecondsAfterFinished": -1},
        "spec.ttlSecondsAfterFinished: -1 is too small: use 0 or more",
        "spec.ttlSecondsAfterFinished in body should be greater than or equal to 0",
    ),
    InvalidSpec(
        "a deletion policy of another kind of object",
        {"spec.deletionPolicy": "Orphan"},
        "spec.deletionPolicy: 'Orphan' is unknown: use 'Retain' or 'Delete'",
        'spec.deletionPolicy: Unsupported value: "Orphan"',
    ),
    InvalidSpec(
        "a whole pod template",
        {_TEMPLATE: {"spec": {"hostNetwork": True}}},
        "spec.podTemplate.spec: unknown field: use one of annotations, env, imagePullSecrets, labels, "
        "priorityClassName, schedulerName, serviceAccountName, volumeMounts, volumes",
        'unknown field "spec.podTemplate.spec"',
    ),
    InvalidSpec(
        "a label of the operator's",
        {_TEMPLATE: {"labels": {"branchmerge.dev/job": "other"}}},
        "spec.podTemplate.labels: 'branchmerge.dev/job' is set by the operator or a controller: remove it",
        "spec.podTemplate.labels: Invalid value: a key is set by the operator or a controller: remove it",
    ),
    InvalidSpec(
        "an annotation of the training operator's",
        {_TEMPLATE: {"annotations": {"training.kubeflow.org/replica-type": "master"}}},
        "spec.podTemplate.annotations: 'training.kubeflow.org/replica-type' is set by the operator or a controller: "
        "remove it",
        "spec.podTemplate.annotations: Invalid value: a key is set by the operator or a controller: remove it",
    ),
    InvalidSpec(
        "a queue on each pod",
        {_TEMPLATE: {"labels": {"kueue.x-k8s.io/queue-name": "team"}}},
        "spec.podTemplate.labels: 'kueue.x-k8s.io/queue-name' queues pods one by one: put it among the labels of the "
        "job itself",
        "Kueue's labels queue pods one by one: put them among the labels of the job itself",
    ),
    InvalidSpec(
        "a label with a space in its name",
        {_TEMPLATE: {"labels": {"cost centre": "42"}}},
        f"spec.podTemplate.labels: 'cost centre' does not fit: {_KEY_HINT}",
        f"spec.podTemplate.labels: Invalid value: a key does not fit: {_KEY_HINT}",
    ),
    InvalidSpec(
        "a label whose value is a sentence",
        {_TEMPLATE: {"labels": {"purpose": "to learn"}}},
        "spec.podTemplate.labels.purpose: 'to learn' does not fit: use letters, digits, dashes, dots and underscores, "
        "with a letter or digit at both ends",
        "spec.podTemplate.labels.purpose in body should match",
    ),
    InvalidSpec(
        "a variable of the operator's",
        _env("BRANCHMERGE_WORKSPACE", value="/elsewhere"),
        "spec.podTemplate.env[0].name: 'BRANCHMERGE_WORKSPACE' is set by the operator or the image: remove it",
        '"BRANCHMERGE_WORKSPACE": set by the operator or the image: remove it',
    ),
    InvalidSpec(
        "a variable of the training operator's",
        _env("WORLD_SIZE", value="2"),
        "spec.podTemplate.env[0].name: 'WORLD_SIZE' is set by the operator or the image: remove it",
        'spec.podTemplate.env[0].name: Invalid value: "WORLD_SIZE": set by the operator',
    ),
    InvalidSpec(
        "a variable with a dash",
        _env("HF-TOKEN", value="x"),
        "spec.podTemplate.env[0].name: 'HF-TOKEN' does not fit: use letters, digits and underscores, no digit first",
        "spec.podTemplate.env[0].name in body should match",
    ),
    InvalidSpec(
        "a variable without a value",
        _env("HF_TOKEN"),
        "spec.podTemplate.env[0]: set exactly one of value and valueFrom",
        "set exactly one of value and valueFrom",
    ),
    InvalidSpec(
        "a variable from two places",
        _env(
            "HF_TOKEN",
            valueFrom={"secretKeyRef": {"name": "a", "key": "k"}, "configMapKeyRef": {"name": "b", "key": "k"}},
        ),
        "spec.podTemplate.env[0].valueFrom: set exactly one of secretKeyRef and configMapKeyRef",
        "set exactly one of secretKeyRef and configMapKeyRef",
    ),
    InvalidSpec(
        "a number as the value of a variable",
        _env("NCCL_SOCKET_NTHREADS", value=4),
        "spec.podTemplate.env[0].value: 4 is no text: put it in quotes",
        'spec.podTemplate.env[0].value in body must be of type string: "integer"',
    ),
    InvalidSpec(
        "two variables of one name",
        {_TEMPLATE: {"env": [{"name": "HF_HOME", "value": "/a"}, {"name": "HF_HOME", "value": "/b"}]}},
        "spec.podTemplate.env: 'HF_HOME' is there 2 times: remove one",
        "spec.podTemplate.env[1]: Duplicate value",
    ),
    InvalidSpec(
        "a volume of the node's own files",
        _volume("data", hostPath={"path": "/data"}),
        "spec.podTemplate.volumes[0].hostPath: unknown field: use one of configMap, csi, emptyDir, name, "
        "persistentVolumeClaim, secret",
        'unknown field "spec.podTemplate.volumes[0].hostPath"',
    ),
    InvalidSpec(
        "a volume of nothing",
        _volume("data"),
        f"spec.podTemplate.volumes[0]: {_ONE_KIND}",
        _ONE_KIND,
    ),
    InvalidSpec(
        "a volume of two kinds",
        _volume("data", emptyDir={}, secret={"secretName": "data"}),
        f"spec.podTemplate.volumes[0]: {_ONE_KIND}",
        _ONE_KIND,
    ),
    InvalidSpec(
        "a volume of the operator's",
        _volume("workspace", emptyDir={}),
        "spec.podTemplate.volumes[0].name: 'workspace' is the operator's own: choose another name",
        "the operator's own: choose another name",
    ),
    InvalidSpec(
        "a Secret that no cluster can have",
        _volume("data", secret={"secretName": "My_Secret"}),
        "spec.podTemplate.volumes[0].secret.secretName: 'My_Secret' does not fit: use lower-case letters, digits, "
        "dashes and dots, with a letter or digit at both ends",
        "spec.podTemplate.volumes[0].secret.secretName in body should match",
    ),
    InvalidSpec(
        "a mount of no volume",
        _mount("/data", "datas"),
        "spec.podTemplate.volumeMounts[0].name: 'datas': a mount names no volume: use the name of one of "
        "podTemplate.volumes",
        "a mount names no volume: use the name of one of podTemplate.volumes",
    ),
    InvalidSpec(
        "a mount over the workspace",
        _mount("/workspace"),
        "spec.podTemplate.volumeMounts[0].mountPath: '/workspace' is the operator's or the system's own: mount it "
        "elsewhere",
        "the operator's or the system's own: mount it elsewhere",
    ),
    InvalidSpec(
        "a mount in what the operator mounts",
        _mount("/dev/shm/cache"),
        "spec.podTemplate.volumeMounts[0].mountPath: '/dev/shm/cache' is the operator's or the system's own: mount it "
        "elsewhere",
        "the operator's or the system's own: mount it elsewhere",
    ),
    InvalidSpec(
        "a mount that takes a detour to the workspace",
        _mount("/data/../workspace"),
        "spec.podTemplate.volumeMounts[0].mountPath: '/data/../workspace' does not fit: use an absolute path such as "
        "/data, without . and .. and a slash at its end",
        "spec.podTemplate.volumeMounts[0].mountPath in body should match",
    ),
    InvalidSpec(
        "a mount that climbs out of its volume",
        _mount("/data", subPath="a/../../b"),
        "spec.podTemplate.volumeMounts[0].subPath: 'a/../../b' does not fit: use a relative path such as "
        "models/student, without . and .. and a slash at its end",
        "spec.podTemplate.volumeMounts[0].subPath in body should match",
    ),
    InvalidSpec(
        "two mounts at one place",
        {
            _TEMPLATE: {
                "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {}}],
                "volumeMounts": [{"name": "a", "mountPath": "/data"}, {"name": "b", "mountPath": "/data"}],
            }
        },
        "spec.podTemplate.volumeMounts: '/data' is there 2 times: mount one of them elsewhere",
        "spec.podTemplate.volumeMounts[1]: Duplicate value",
    ),
    InvalidSpec(
        "a claim that no cluster can have",
        {"spec.workspace": {"persistentVolumeClaim": {"claimName": "models/a"}}},
        "spec.workspace.persistentVolumeClaim.claimName: 'models/a' does not fit: use lower-case letters, digits, "
        "dashes and dots, with a letter or digit at both ends",
        "spec.workspace.persistentVolumeClaim.claimName in body should match",
    ),
)
