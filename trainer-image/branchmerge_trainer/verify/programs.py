"""From the program that an answer holds to the program that the sandbox runs."""

from __future__ import annotations

_FENCE = "```"

_PRELUDE = """\
from string import *
from re import *
from datetime import *
from collections import *
from heapq import *
from bisect import *
from copy import *
from math import *
from random import *
from statistics import *
from itertools import *
from functools import *
from operator import *
from io import *
from sys import *
from json import *
from builtins import *
from typing import *
import string, re, datetime, collections, heapq, bisect, copy, math, random, statistics, itertools, functools
import operator, io, sys, json
sys.setrecursionlimit(50000)
"""
"""What LiveCodeBench imports before each program (`testing_util.py`), in its order."""

_CALL = """\
import json as _json, os as _os, sys as _sys
_arguments = [_json.loads(_line) for _line in _sys.stdin.read().splitlines()]
_value = _os.fdopen(_os.dup(1), "w")
_os.dup2(2, 1)  # what the function prints is no value
_scope = {{"__name__": "solution"}}
exec({prelude!r}, _scope)
exec(compile({code!r}, "program.py", "exec"), _scope)
_owner = _scope.get("Solution")
_function = getattr(_owner(), {function!r}) if _owner is not None else _scope[{function!r}]
_json.dump(_function(*_arguments), _value, default=list)
_value.flush()
"""


def last_code(text: str) -> str | None:
    """Content of the last fenced block that is closed; None where there is none."""
    found, start = None, None
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if start is None and line.strip().startswith(_FENCE):
            start = number + 1
        elif start is not None and line.strip() == _FENCE:
            found, start = "\n".join(lines[start:number]), None
    return found


def reading_program(code: str) -> str:
    """A program that reads its standard input, and prints: the code as it is, with LiveCodeBench's imports."""
    return f"exec({_PRELUDE!r})\nexec(compile({code!r}, 'program.py', 'exec'))\n"


def calling_program(code: str, function: str) -> str:
    """A program that reads a function's arguments, one JSON a line, calls it, and prints its value as JSON."""
    return _CALL.format(prelude=_PRELUDE, code=code, function=function)
