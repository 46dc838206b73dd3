"""Branchmerge: Branch-Merge distillation as one Kubernetes resource, or one local command.

The packages form layers, checked by import-linter: `api <- core <- {kube, local} <- cli`.
"""
