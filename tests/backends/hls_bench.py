"""The HLS templates without hls4ml: one C++ program that runs the layers of many graphs, compiled once."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hwgen.backends import hls4ml_layers
from hwgen.backends.hls4ml_cpp import configuration, cpp, plain
from hwgen.ir import Fold, Graph

HEADERS = Path(hls4ml_layers.__file__).parent / "hls"
Codes = npt.NDArray[np.int64]

FILLED = """
template <class T, int N> bool filled(T (&to)[N], const long long (&from)[N]) {
    for (int i = 0; i < N; i++) to[i] = from[i];
    return true;
}
"""


def ap_types() -> Path:
    spec = importlib.util.find_spec("hls4ml")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "templates/vivado/ap_types"


def _case(number: int, graph: Graph) -> str:
    kind = graph.input_type
    # Every other matrix unit is folded.
    made = hls4ml_layers.layers(graph, {"a": Fold(2, 4)} if number % 2 else None)
    lines = [f"namespace case{number} {{"]
    calls = []
    formats, size = [plain(kind.codes_format)], kind.size
    lines.append(f"static {cpp(formats[0])} t0[{size}];")
    for place, layer in enumerate(made, 1):
        assert layer.function != "dense", "hls4ml's own layer is proven with hls4ml"
        types = {table.name: cpp(table.format) for table in layer.tables}
        lines.append(configuration(layer, f"config{place}", types))
        length = int(np.prod(layer.shape))
        lines.append(f"static {cpp(layer.format)} t{place}[{length}];")
        names = [f"t{n}" for n in (*layer.inputs, place)]
        for table in layer.tables:
            values = ", ".join(f"{value}LL" for value in table.values.ravel())
            names.append(f"{table.name}{place}")
            # Copied when the program starts: compilers take long over arrays of objects with initial values.
            lines.append(f"static const long long raw_{names[-1]}[] = {{{values}}};")
            lines.append(f"static {cpp(table.format)} {names[-1]}[{table.values.size}];")
            lines.append(f"static const bool {names[-1]}_there = filled({names[-1]}, raw_{names[-1]});")
        formats.append(layer.format)
        kinds = ", ".join(cpp(formats[n]) for n in (*layer.inputs, place))
        calls.append(f"    hwgen::{layer.function}<{kinds}, config{place}>({', '.join(names)});")
        size = length
    read = f"    for (int i = 0; i < {kind.size}; i++) t0[i] = in[i];"
    number_of = "to_int64" if formats[-1].is_signed else "to_uint64"
    give = f"    for (int i = 0; i < {size}; i++) out[i] = t{len(made)}[i].{number_of}();"
    lines += ["void run(const long long *in, long long *out) {", read, *calls, give, "}", "}"]
    return "\n".join(lines)


def run(graphs: list[Graph], inputs: list[Codes], folder: Path, flags: list[str]) -> list[Codes]:
    """The codes that the templates give, for each graph and its frames; `flags` for the compiler."""
    headers = "".join(f'#include "{path.name}"\n' for path in sorted(HEADERS.glob("*.h")))
    sizes = [(g.input_type.size, g.output_type.size, len(x)) for g, x in zip(graphs, inputs, strict=True)]
    body = "".join(
        f"    for (int f = 0; f < {frames}; f++) {{ long long in[{a}], out[{b}];\n"
        f"        if (fread(in, 8, {a}, stdin) != {a}) return 1;\n"
        f"        case{number}::run(in, out);\n        fwrite(out, 8, {b}, stdout); }}\n"
        for number, (a, b, frames) in enumerate(sizes)
    )
    cases = "\n".join(_case(number, graph) for number, graph in enumerate(graphs))
    source = folder / "bench.cpp"
    source.write_text(f"#include <cstdio>\n{headers}{FILLED}{cases}\nint main() {{\n{body}    return 0;\n}}\n")
    # g++ knows no HLS pragmas; ap_types' default constructors clear bits of what is not yet set, and it shifts negative
    # numbers to the left, which C++20 is the first to define.
    known = ["-Wno-unknown-pragmas", "-Wno-unused-variable", "-Wno-uninitialized", "-Wno-maybe-uninitialized"]
    command = ["g++", "-std=c++20", "-Wall", "-Werror", *known, *flags, f"-I{HEADERS}"]
    built = subprocess.run(
        [*command, "-isystem", str(ap_types()), str(source), "-o", str(folder / "bench")],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr[:8000]
    data = b"".join(np.ascontiguousarray(x, dtype=np.int64).tobytes() for x in inputs)
    done = subprocess.run([folder / "bench"], input=data, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[:4000]
    assert not done.stderr, done.stderr.decode()[:4000]
    out, place = np.frombuffer(done.stdout, dtype=np.int64), 0
    results = []
    for graph, x in zip(graphs, inputs, strict=True):
        size = graph.output_type.size * len(x)
        results.append(out[place : place + size].reshape(len(x), *graph.output_type.shape))
        place += size
    return results
