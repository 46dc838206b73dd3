"""How children say what they belong to."""

from __future__ import annotations

from branchmerge.api.resource import GROUP

JOB_LABEL = f"{GROUP}/job"
"""Name of the job; what children and pods are watched by."""
KIND_LABEL = f"{GROUP}/stage-kind"
STAGE_ANNOTATION = f"{GROUP}/stage"
FINGERPRINT_ANNOTATION = f"{GROUP}/fingerprint"
ATTEMPT_ANNOTATION = f"{GROUP}/attempt"
GPUS_ANNOTATION = f"{GROUP}/gpus"
OUTCOME_ANNOTATION = f"{GROUP}/outcome"
"""The attempt's outcome, copied from its pod's termination message so that it outlives the pod."""
STOPPED_ANNOTATION = f"{GROUP}/stopped"
"""Why we stopped the attempt; set before it is stopped, so that its end is not taken for a failure."""
DISRUPTED_ANNOTATION = f"{GROUP}/disrupted"
"""What took one of its pods away. Set with the order to end the others: the gang goes on as a new attempt."""
FAILURE_ANNOTATION = f"{GROUP}/failure"
"""How the attempt failed, as JSON, so that it outlives the pods that it was read from."""
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Kueue LocalQueue that a child waits in."""
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
"""Kueue WorkloadPriorityClass, which orders the queue and preemption in it."""
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGER = "branchmerge"
REPLICA_INDEX_LABEL = "training.kubeflow.org/replica-index"
"""Number of a pod within its PyTorchJob, as the training operator labels it."""
