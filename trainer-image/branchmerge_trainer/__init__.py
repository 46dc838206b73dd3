"""Does the work of one stage, inside a pod or a local process.

It knows the contract (`branchmerge.api.stage`) and nothing of who started it. Layers: `__main__` runs the launcher of a
node; the launcher runs a stage in its own process, or starts ranks that do; a stage writes into a folder that
`publish` renames into place.
"""
