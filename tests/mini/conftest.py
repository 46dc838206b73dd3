"""Makes the package of `examples/mini` importable, as running its `make.py` does: an example is not installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "mini"))
