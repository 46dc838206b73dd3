"""Decides what happens next, from (spec, attempts, now). Pure: no Kubernetes, no process, no clock, no I/O."""
