"""The nouns that cross a process boundary: the resource and the contract of a stage.

Needs pydantic and the standard library only, because the operator, the command line and the trainer all import it.
"""
