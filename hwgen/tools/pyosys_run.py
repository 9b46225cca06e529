"""Run a Yosys script with the Yosys of the `pyosys` package: `python3 pyosys_run.py script.ys`.

A failing pass ends the interpreter, so this is a program and not a function. It imports nothing of hwgen, to start
quickly and so that a build folder can be taken elsewhere.
"""

from __future__ import annotations

import sys


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: pyosys_run.py script.ys")
    try:
        from pyosys import libyosys
    except ImportError as error:
        sys.exit(f"Yosys is missing ({error}); install it with: pip install pyosys")
    libyosys.run_pass(f"script {sys.argv[1]}", libyosys.Design())


if __name__ == "__main__":
    main()
