"""The API server itself is killed: everything in the cluster feels it."""

from deployment.bench import Bench, quick_job
from localcluster.cluster import Cluster


def test_the_api_server_is_killed_while_a_job_runs(bench: Bench, cluster: Cluster) -> None:
    bench.apply(quick_job("outage", {"train/math": {"seconds": 2}}))
    bench.wait_stage("outage", "train/math", "Running")
    cluster.control_plane.restart_apiserver(grace=0)
    bench.wait_phase("outage", "Succeeded")
    bench.assert_each_stage_ran_once("outage")
