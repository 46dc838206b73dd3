"""Without nodes and without root the API is as real: admission, RBAC, controllers, garbage collection."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from localcluster.controlplane import ControlPlane
from localcluster.reading import Object
from localcluster.shell import CommandError
from localcluster.waiting import until
from workloads import template

STARTS_ONE_AND_WAITS = """
import time
from localcluster.apionly import api_only
with api_only() as plane:
    print(plane.folder, *(daemon.pid for daemon in plane.daemons), flush=True)
    time.sleep(600)
"""
WIDGETS: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.test.branchmerge.dev"},
    "spec": {
        "group": "test.branchmerge.dev",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"size": {"type": "integer"}},
                                "x-kubernetes-validations": [
                                    {"rule": "self.size % 2 == 0", "message": "size must be even; add 1"}
                                ],
                            }
                        },
                    }
                },
            }
        ],
    },
}


def test_a_cel_rule_refuses_what_it_says(api_only_cluster: ControlPlane) -> None:
    kubectl = api_only_cluster.kubectl
    kubectl.apply(WIDGETS)
    kubectl("wait", "--for=condition=Established", "crd/widgets.test.branchmerge.dev")
    with pytest.raises(CommandError, match="size must be even; add 1"):
        kubectl.apply(widget(3))
    kubectl.apply(widget(4))
    assert kubectl.get("widget", "widget")["spec"]["size"] == 4


def test_a_job_gets_its_pod_and_takes_it_along_when_it_is_deleted(api_only_cluster: ControlPlane) -> None:
    kubectl = api_only_cluster.kubectl
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job", "namespace": "default"}}
    kubectl.apply({**job, "spec": {"template": {"spec": template("true")}}})
    until("the Job's pod", lambda: kubectl.find("pods", selector="job-name=job"), timeout=30)
    kubectl("delete", "job", "job", "--wait=false")
    until("the pod to go", lambda: not kubectl.find("pods", selector="job-name=job"), timeout=30)


def test_a_user_without_a_role_may_do_nothing(api_only_cluster: ControlPlane) -> None:
    with pytest.raises(CommandError, match="Forbidden"):
        api_only_cluster.kubectl("get", "pods", "--as=somebody")


def test_data_outlives_the_death_of_the_api_server(api_only_cluster: ControlPlane) -> None:
    kubectl = api_only_cluster.kubectl
    kubectl("create", "configmap", "kept")
    before = api_only_cluster.apiserver.pid
    api_only_cluster.restart_apiserver(grace=0)
    assert api_only_cluster.apiserver.pid != before
    assert kubectl.exists("configmap", "kept")


def test_it_ends_with_a_process_that_is_killed() -> None:
    argv = [sys.executable, "-c", STARTS_ONE_AND_WAITS]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        folder, *pids = starter.stdout.readline().split()
        starter.kill()
    assert len(pids) == 3
    until("its programs to die", lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids), timeout=10)
    shutil.rmtree(folder)


def widget(size: int) -> Object:
    metadata = {"name": "widget", "namespace": "default"}
    return {"apiVersion": "test.branchmerge.dev/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": size}}
