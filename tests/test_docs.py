"""Every sample in the documentation runs.

A page's blocks run from top to bottom in one temporary folder: ```python blocks in one namespace, ```console blocks
line by line (`$ command`; the lines below it must be part of its output, and `...` stands for lines left out).
A comment right above a block changes that:

    <!-- slow -->            takes a while; the whole page runs with `-m slow` then, as pages with commands do
    <!-- skip: reason -->    never; the reason says why
    <!-- exit: 3 -->         the last command ends with this exit code, not 0

`<!-- setup: name -->` anywhere in a page makes that file of `SETUP` in its folder first.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>slow|skip|exit)(?:: (?P<text>[^\n]*?))? -->\n\n?)?"
    r"```(?P<kind>python|console)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
TIMEOUT = 900


@dataclass(frozen=True)
class Block:
    line: int
    kind: str
    code: str
    mark: str | None
    text: str | None


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        found.append(Block(line, match["kind"], match["code"], match["mark"], match["text"]))
    return found


def tiny_qonnx() -> None:
    """model.onnx: 8 inputs of 4 bits, 6 hidden neurons, 3 classes; weights of 4 bits."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    nodes, constants = [], {}

    def constant(name: str, value: object) -> str:
        constants[name] = np.asarray(value, dtype=np.float32)
        return name

    def quant(x: str, y: str, scale: float, bits: int, signed: int, narrow: int) -> None:
        inputs = [x, constant(f"{y}_scale", scale), constant(f"{y}_zero", 0), constant(f"{y}_bits", bits)]
        attributes = {"signed": signed, "narrow": narrow, "rounding_mode": "ROUND"}
        nodes.append(
            helper.make_node("Quant", inputs, [y], name=f"{y}_quant", domain="qonnx.custom_op.general", **attributes)
        )

    quant("x", "xq", 1 / 16, 4, 0, 0)
    last = "xq"
    for layer, (inner, out) in enumerate([(8, 6), (6, 3)]):
        weight = constant(f"w{layer}", rng.integers(-7, 8, (inner, out)) / 8)
        quant(weight, f"w{layer}q", 1 / 8, 4, 1, 1)
        nodes.append(helper.make_node("MatMul", [last, f"w{layer}q"], [f"fc{layer}"], name=f"fc{layer}"))
        last = f"fc{layer}"
        if layer == 0:
            nodes.append(helper.make_node("Relu", [last], ["relu0"], name="relu0"))
            quant("relu0", "act0", 1 / 8, 4, 0, 0)
            last = "act0"
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("qonnx.custom_op.general", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), "model.onnx")


SETUP: dict[str, Callable[[], None]] = {"model.onnx": tiny_qonnx}


def run_python(page: Path, block: Block, namespace: dict[str, object]) -> None:
    # Empty lines ahead of the code make tracebacks show the page's own line numbers. It is not this file's annotations
    # that it has.
    code = compile("\n" * (block.line - 1) + block.code, str(page), "exec", dont_inherit=True)
    exec(code, namespace)


def run_console(page: Path, block: Block, folder: Path) -> None:
    commands = re.split(r"^\$ ", block.code.replace("\\\n", " "), flags=re.MULTILINE)
    assert not commands[0].strip(), f"{page}:{block.line}: a console block begins with $"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120"}
    for number, entry in enumerate(commands[1:], 1):
        command, _, shown = entry.partition("\n")
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT
        )
        wanted = int(block.text or 0) if block.mark == "exit" and number == len(commands) - 1 else 0
        output = done.stdout + done.stderr
        assert done.returncode == wanted, f"{page}:{block.line}: {command}: exit code {done.returncode}\n{output}"
        for line in filter(None, map(str.strip, shown.splitlines())):
            assert line == "..." or " ".join(line.split()) in " ".join(output.split()), (
                f"{page}:{block.line}: {command}: its output has no {line!r}\n{output}"
            )


def run_page(page: Path, folder: Path) -> None:
    for name in re.findall(r"^<!-- setup: (.*?) -->$", page.read_text(), re.MULTILINE):
        SETUP[name]()
    namespace: dict[str, object] = {"__name__": "docs"}
    for block in blocks(page):
        if block.mark == "skip":
            assert block.text, f"{page}:{block.line}: a block is skipped without a reason"
        elif block.kind == "python":
            run_python(page, block, namespace)
        else:
            run_console(page, block, folder)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def is_slow(page: Path) -> bool:
    """Whether it has commands, which start programs, or samples that are marked so."""
    return any(block.mark == "slow" or (block.kind == "console" and block.mark != "skip") for block in blocks(page))


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] if is_slow(page) else []) for page in PAGES if blocks(page)],
    ids=name_of,
)
def test_samples(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_is_seen(page: Path) -> None:
    """No sample hides behind a misspelt mark or an indented fence."""
    assert len(re.findall(r"^\s*```(?:python|console)\b", page.read_text(), re.MULTILINE)) == len(blocks(page))
    for line in re.findall(r"^<!--.*", page.read_text(), re.MULTILINE):
        assert re.fullmatch(r"<!-- (slow|skip: .+|exit: \d+|setup: .+) -->", line), line


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page}: {target}"


def test_importers_are_documented() -> None:
    """The table of ONNX operations is the importer's own."""
    from hwgen.frontends.onnx_nodes import IMPORTERS

    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", (ROOT / "docs" / "frontends.md").read_text(), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(IMPORTERS)


def test_brevitas_layers_are_documented() -> None:
    from hwgen.frontends.brevitas_layers import MODULES

    text = (ROOT / "docs" / "frontends.md").read_text()
    listed = text[text.index("A Brevitas module may hold these layers") : text.index("and these functions")]
    assert sorted(set(re.findall(r"`(\w+)`", listed)) - {"torch"}) == sorted({*MODULES} - {"Linear"})


def test_exit_codes_are_documented() -> None:
    from hwgen import errors

    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.MULTILINE))
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert rows == {str(kind.exit_code): kind.__name__ for kind in kinds}


def command_tables() -> dict[str, str]:
    """A Markdown table of the arguments and options of each command, from the command line itself."""
    import typer

    from hwgen.cli import app

    found = {}
    todo = [("hwgen", typer.main.get_command(app))]
    while todo:
        path, command = todo.pop(0)
        todo += [(f"{path} {name}", child) for name, child in getattr(command, "commands", {}).items()]
        rows = ["| | default | |", "|---|---|---|"]
        for parameter in command.params:
            if parameter.name in ("install_completion", "show_completion", "help"):
                continue
            option = parameter.opts[0].startswith("-")
            name = f"`{'`, `'.join(parameter.opts)}`" if option else f"`{parameter.name.upper()}`"
            shown = parameter.default not in (None, False) and not callable(parameter.default)
            default = f"`{parameter.default}`" if shown else "required" if parameter.required else ""
            text = (parameter.help or "").replace("|", "\\|")
            rows.append(f"| {name} | {default} | {text} |")
        found[path] = "\n".join([(command.help or "").strip(), *(["", *rows] if len(rows) > 2 else [])])
    return found


def write_command_tables() -> str:
    """docs/cli.md with its part "Commands" made anew; `python -m tests.test_docs` writes it."""
    text = (ROOT / "docs" / "cli.md").read_text()
    fixed = text[: text.index("## Commands")]
    parts = [f"### {path}\n\n{table}\n" for path, table in command_tables().items() if path != "hwgen"]
    return fixed + "## Commands\n\n" + "\n".join(parts)


def test_commands_are_documented() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == write_command_tables(), "run python -m tests.test_docs"


if __name__ == "__main__":
    (ROOT / "docs" / "cli.md").write_text(write_command_tables())
