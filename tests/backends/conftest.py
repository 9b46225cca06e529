"""The command line in this process, on a network of the test file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from hwgen import cli
from hwgen.ir import Graph
from hwgen.tools.files import write_atomic


@pytest.fixture
def hwgen(network: Graph, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):  # type: ignore[no-untyped-def]
    """`run(*words)` in a folder with `network` as graph.json; gives exit code, output and error output."""
    monkeypatch.chdir(tmp_path)
    write_atomic(tmp_path / "graph.json", json.dumps(network.to_json()))

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hwgen", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        streams = capsys.readouterr()
        return int(ended.value.code or 0), streams.out, " ".join(streams.err.split())

    return run
