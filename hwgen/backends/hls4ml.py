"""The hls4ml backend: a frozen graph as a Vitis HLS project whose C simulation gives the golden model's codes.

`write` makes the project, `simulate` compiles it with g++ and runs it, `verify` compares that with the golden model,
`build` runs Vitis HLS. Integer matrix units on vectors are hls4ml's own dense layers; everything else is C++ of
`hwgen/backends/hls`, which enters by hls4ml's extension API. Every type is stated; hls4ml chooses none.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hwgen import golden
from hwgen.backends import hls4ml_cpp, hls4ml_layers, hls4ml_report
from hwgen.errors import HwgenError, MismatchError, ToolFailedError, ToolMissingError
from hwgen.formats import Codes
from hwgen.ir import Folding, Graph, graph_from_json
from hwgen.ir.figure import Figure
from hwgen.ops import OPS
from hwgen.tools import child
from hwgen.tools.files import atomic_dir

VERSION = "1.3.0"
"""The version of hls4ml that the backend is written for and tested with."""

DEFAULT_PART = "xczu3eg-sbva484-1-e"

AMD = ("xc", "xa", "xq")
"""How the names of AMD's parts begin."""

CARRIED_BITS = 53
"""hls4ml's interface to Python takes and gives float64."""

VITIS = ("vitis-run", "vitis_hls")
"""Programs that build a project: the newer one first."""


def write(
    graph: Graph,
    folder: Path | str,
    part: str = DEFAULT_PART,
    mhz: float = 200.0,
    folding: Folding | None = None,
    trace: bool = False,
) -> Path:
    """Write the Vitis HLS project of a frozen graph; `folder` appears whole, with the graph in it as graph.json.

    part: the FPGA's name as Vitis has it. mhz: the clock. folding: PE and SIMD by matrix unit, as for the native
    backend. trace: the C simulation also keeps what every layer gives, so that `verify` compares all tensors.
    Raises ToolMissingError without hls4ml, HwgenError for another version of it or another vendor's part,
    UnsupportedError naming the node that has no template.
    """
    check_hls4ml()
    if not part.lower().startswith(AMD):
        raise HwgenError(f"the hls4ml backend makes projects for AMD parts, not for {part}")
    made = hls4ml_layers.layers(graph, folding)
    if not made:
        raise HwgenError(f"graph {graph.name!r} has no layers to make a project of")
    from hwgen.backends import hls4ml_model

    kind = graph.input_type
    with atomic_dir(folder, "graph.json") as out:
        hls4ml_model.write_project(
            out,
            project_name(graph),
            graph.inputs[0].name,
            kind.shape,
            hls4ml_cpp.plain(kind.codes_format),
            made,
            1 + [node.output for node in graph.nodes].index(graph.outputs[0]),
            part,
            1000 / mhz,
            trace,
        )
        # hls4ml notes where it wrote; the folder is renamed when it is whole.
        notes = out / "hls4ml_config.yml"
        notes.write_text(notes.read_text().replace(str(out), str(Path(folder).resolve())))
        (out / "graph.json").write_text(json.dumps(graph.to_json()) + "\n")
    return Path(folder)


def check_hls4ml() -> None:
    """Raises ToolMissingError where hls4ml is not installed, HwgenError where its version is not `VERSION`."""
    try:
        found = importlib.metadata.version("hls4ml")
    except importlib.metadata.PackageNotFoundError as error:
        raise ToolMissingError(
            f"hls4ml is not installed: pip install hls4ml=={VERSION} (or hwgen with its extra hls4ml)"
        ) from error
    if found != VERSION:
        raise HwgenError(f"the hls4ml backend needs hls4ml {VERSION}, and {found} is installed")


def project_name(graph: Graph) -> str:
    """The project's name, which is also that of its top function."""
    name = re.sub(r"\W", "_", graph.name).strip("_") or "network"
    return f"hwgen_{name}"


def emitted(folder: Path | str) -> list[str]:
    """The files of a project that were written for its network: hls4ml's and ap_types' own headers left out."""
    root, own = Path(folder), ("firmware/nnet_utils/nnet_", "firmware/ap_types/")
    names = (str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    return sorted(name for name in names if not name.startswith(own))


def read_graph(folder: Path | str) -> Graph:
    """The graph that a project was made of; raises HwgenError where `folder` is none of ours."""
    path = Path(folder) / "graph.json"
    try:
        return graph_from_json(json.loads(path.read_text(encoding="utf-8")), OPS)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise HwgenError(f"{folder} is no HLS project that hwgen wrote: {path} cannot be read ({error})") from error


def compile_simulation(folder: Path | str, timeout: float = 1800) -> Path:
    """Compile the C simulation with g++ and ap_types, by hls4ml's own build_lib.sh; gives the shared library.

    Raises ToolMissingError without g++, ToolFailedError with the compiler's last lines; its log is csim.log.
    """
    folder = Path(folder)
    name = project_name(read_graph(folder))
    if shutil.which("g++") is None:
        raise ToolMissingError(f"g++ is not installed, which compiles the C simulation; the project stands in {folder}")
    for old in (folder / "firmware").glob(f"{name}-*.so"):
        old.unlink()
    child.run(["bash", "build_lib.sh"], cwd=folder, log=folder / "csim.log", timeout=timeout)
    found = list((folder / "firmware").glob(f"{name}-*.so"))
    if not found:
        raise ToolFailedError(f"build_lib.sh left no library in {folder}/firmware (log: {folder}/csim.log)")
    return found[0]


def simulate(folder: Path | str, x: npt.ArrayLike, library: Path | None = None) -> Codes:
    """Output codes (frames, *shape) of the project's C simulation; `x` as in `golden.run`.

    library: what `compile_simulation` gave, to use it again; without it the project is compiled. Raises as that.
    """
    return _simulate(folder, x, library)[0]


def _simulate(folder: Path | str, x: npt.ArrayLike, library: Path | None) -> tuple[Codes, dict[str, Codes]]:
    """Output codes, and those of every node by its name where the project was written to keep them."""
    graph = read_graph(folder)
    codes = golden.input_codes(graph, x)
    widest = max(kind.codes_format.bits for kind in (graph.input_type, graph.output_type))
    if widest > CARRIED_BITS:
        raise HwgenError(f"graph {graph.name!r} has codes of {widest} bits, and a C simulation carries {CARRIED_BITS}")
    loaded = ctypes.CDLL(str((library or compile_simulation(folder)).resolve()))
    function = getattr(loaded, f"{project_name(graph)}_double")
    array = np.ctypeslib.ndpointer(np.float64, flags="C_CONTIGUOUS")
    function.argtypes, function.restype = [array, array], None
    inputs = np.ascontiguousarray(codes.reshape(len(codes), -1), dtype=np.float64)
    outputs = np.zeros((len(codes), graph.output_type.size))
    kept: dict[str, list[Codes]] = {node.output: [] for node in graph.nodes}
    # One more than there can be: what stays empty ends the list.
    records = (_Record * (len(graph.nodes) + 1))()
    loaded.allocate_trace_storage(ctypes.c_size_t(np.dtype(np.float64).itemsize))
    try:
        for frame, result in zip(inputs, outputs, strict=True):
            function(frame, result)
            loaded.collect_trace_output(records)
            for tensor, numbers in _kept(graph, records):
                kept[tensor].append(numbers)
    finally:
        loaded.free_trace_storage()
    whole = outputs.astype(np.int64).reshape(len(codes), *graph.output_type.shape)
    return whole, {tensor: np.stack(parts) for tensor, parts in kept.items() if parts}


class _Record(ctypes.Structure):
    """What hls4ml's trace tells of a layer."""

    _fields_ = (("name", ctypes.c_char_p), ("data", ctypes.c_void_p))


def _kept(graph: Graph, records: ctypes.Array[_Record]) -> Iterator[tuple[str, Codes]]:
    """Tensors and their codes in what hls4ml's trace left of one frame."""
    labels = hls4ml_cpp.identifiers([graph.inputs[0].name, *(node.name for node in graph.nodes)])
    tensors = {label: node.output for label, node in zip(labels[1:], graph.nodes, strict=True)}
    for record in records:
        if record.name:
            tensor = tensors[record.name.decode()]
            pointer = ctypes.cast(record.data, ctypes.POINTER(ctypes.c_double))
            yield tensor, np.ctypeslib.as_array(pointer, shape=graph.types[tensor].shape).astype(np.int64)


def verify(folder: Path | str, x: npt.ArrayLike, library: Path | None = None) -> Codes:
    """Prove the C simulation equal to the golden model on `x`, code for code; gives the codes.

    Of a project that was written with `trace` every tensor is compared, but for those of more than 53 bits. Raises
    MismatchError naming the first tensor that differs, the frame, the place and both codes; otherwise as `simulate`.
    """
    graph = read_graph(folder)
    got, kept = _simulate(folder, x, library)
    want = golden.trace(graph, x)
    for node in graph.nodes:
        if node.output in kept and graph.types[node.output].codes_format.bits <= CARRIED_BITS:
            _compare(f"C simulation of {folder}, node {node.name!r}", kept[node.output], want[node.output])
    _compare(f"C simulation of {folder}", got, want[graph.outputs[0]])
    return got


def _compare(where: str, got: Codes, want: Codes) -> None:
    if np.array_equal(got, want):
        return
    frame, *place = (int(n) for n in np.argwhere(got != want)[0])
    frames = int((got != want).any(axis=tuple(range(1, got.ndim))).sum())
    raise MismatchError(
        f"{where}, frame {frame}, code {place}: it gives {got[frame, *place]}, the golden model {want[frame, *place]} "
        f"({frames} of {len(got)} frames differ)"
    )


def vitis() -> str | None:
    """The program of `VITIS` that is installed, None where none is."""
    return next((name for name in VITIS if shutil.which(name)), None)


def build(folder: Path | str, timeout: float | None = None) -> dict[str, Figure]:
    """Run Vitis HLS on a project: what its build_opt.tcl asks for; gives the figures of the synthesis. Log: vitis.log.

    Raises ToolMissingError, naming the programs and what is there, where Vitis is not installed; ToolFailedError with
    its last lines where it fails; HwgenError where it leaves no report.
    """
    folder = Path(folder)
    graph = read_graph(folder)
    program = vitis()
    if program is None:
        raise ToolMissingError(
            f"neither vitis-run nor vitis_hls is installed or on the PATH: the project in {folder} is whole, "
            f"and builds where Vitis is with: cd {folder} && vitis-run --mode hls --tcl build_prj.tcl"
        )
    command = [program, "--mode", "hls", "--tcl"] if program == VITIS[0] else [program]
    child.run([*command, "build_prj.tcl"], cwd=folder, log=folder / "vitis.log", timeout=timeout)
    return hls4ml_report.figures(folder, project_name(graph))
