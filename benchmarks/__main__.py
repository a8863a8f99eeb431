"""Run one benchmark by name.

Every module here without a leading underscore is a benchmark: its ``main(argv)`` measures and
returns a flat dictionary of figures that go into JSON.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from pathlib import Path


def names() -> list[str]:
    """Names of the benchmarks."""
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(module.name for module in found if not module.name.startswith("_"))


def main(argv: list[str]) -> int:
    """Run the benchmark named first in `argv`; with ``--json`` the last line is one object."""
    as_json = "--json" in argv
    name, *options = [argument for argument in argv if argument != "--json"] or [""]
    if name not in names():
        print(f"usage: python -m benchmarks NAME [--json] [options]; NAME: {', '.join(names())}")
        return 0 if not name else 2
    figures = importlib.import_module(f"benchmarks.{name}").main(options)
    width = max(map(len, figures))
    for key, value in figures.items():
        print(
            f"{key:<{width}}  {value:.4g}"
            if isinstance(value, float)
            else f"{key:<{width}}  {value}"
        )
    if as_json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
