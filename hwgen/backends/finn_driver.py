"""Runs FINN on a project folder: by path, in FINN's own environment, which has no hwgen.

    .venv-finn/bin/python -P finn_driver.py front FOLDER    up to the RTL of every node; needs no Vivado
    .venv-finn/bin/python -P finn_driver.py build FOLDER    FINN's whole build, to a bitstream; needs Vivado

It reads build.json, model.onnx and the files that build.json names; `front` writes nodes.json, which hwgen reads.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

FRONT_STEPS = (
    "step_qonnx_to_finn",
    "step_tidy_up",
    "step_streamline",
    "step_convert_to_hw",
    "step_minimize_bit_width_initial",
    "step_create_dataflow_partition",
    "step_specialize_layers",
    "step_apply_folding_config",
    "step_minimize_bit_width",
    "step_generate_estimate_reports",
    "step_generate_hardware",
)

MEMORY = ("memstream/hdl/memstream.sv", "memstream/hdl/memstream_axi.sv", "axi/hdl/axilite.sv")

# FINN asks for the version in this path even where it runs no Vivado.
NO_VIVADO = "/nonexistent/Vivado/2024.2"


def say(text: str) -> None:
    """A line that hwgen shows while FINN runs."""
    print(f"finn: {text}", file=sys.__stdout__, flush=True)


def front(folder: Path) -> None:
    """Convert, fold, estimate and generate RTL; every stream and file of the nodes goes to nodes.json."""
    os.environ.setdefault("XILINX_VIVADO", NO_VIVADO)
    from finn import xsi

    for name in xsi._LAZY_NAMES:
        # Without Vivado there is no simulator to import them from, and the builder imports them by name.
        setattr(xsi, name, None)
    from finn.builder import build_dataflow_steps as steps
    from qonnx.core.modelwrapper import ModelWrapper

    # Vitis would make IP of HLS nodes here; RTL nodes are done by then.
    steps.step_hw_ipgen = lambda model, config, parent_node=None: model
    config = configuration(folder)
    config.get_intermediate_models_directory().mkdir(parents=True, exist_ok=True)
    config.get_report_directory().mkdir(parents=True, exist_ok=True)
    model = ModelWrapper(str(folder / "model.onnx"))
    for number, name in enumerate(FRONT_STEPS, 1):
        say(f"{number}/{len(FRONT_STEPS)} {name.removeprefix('step_')}")
        model = getattr(steps, name)(model, config)
    model.save(str(folder / "finn" / "dataflow.onnx"))
    text = json.dumps([node(entry) for entry in model.graph.node], indent=1, default=int)
    (folder / "nodes.json").write_text(text + "\n")


def node(entry: Any) -> dict[str, Any]:
    """What the top level needs to know of one node of FINN's graph."""
    from finn.util.settings import get_settings
    from qonnx.custom_op.registry import getCustomOp

    one = getCustomOp(entry)
    made = Path(one.get_nodeattr("code_gen_dir_ipgen"))
    streams = {}
    for side, kind, shape in (
        ("input", one.get_input_datatype(0), one.get_folded_input_shape()),
        ("output", one.get_output_datatype(), one.get_folded_output_shape()),
    ):
        beats = 1
        for size in shape[:-1]:
            beats *= int(size)
        streams[side] = {
            "lanes": int(shape[-1]),
            "bits": int(kind.bitwidth()),
            "signed": bool(kind.signed()),
            "beats": beats,
        }
    is_rtl = entry.op_type.endswith("_rtl")
    library = [str(path) for path in one.get_rtl_file_list(abspath=True)] if is_rtl else []
    if entry.op_type == "MVAU_rtl":
        # The memory of the weights, which FINN puts beside the unit when it stitches.
        library += [str(Path(get_settings().finn_rtllib) / path) for path in MEMORY]
    return {
        "name": entry.name,
        "kind": entry.op_type,
        **streams,
        "cycles": int(one.get_exp_cycles()),
        "taps": math.prod(one.get_nodeattr("KernelSize")) if entry.op_type == "Pool_hls" else 0,
        "weights": int(one.get_instream_width(1)) if entry.op_type == "MVAU_rtl" else 0,
        "top": one.get_nodeattr("gen_top_module") if is_rtl else None,
        "folder": str(made),
        "library": library,
        "files": sorted(path.name for path in made.iterdir()) if made.is_dir() else [],
    }


def configuration(folder: Path) -> Any:
    """FINN's own form of build.json."""
    from finn.builder.build_dataflow_config import DataflowBuildConfig

    return DataflowBuildConfig.from_json((folder / "build.json").read_text())


def build(folder: Path) -> int:
    """FINN's builder from end to end; its exit code."""
    from finn.builder.build_dataflow import build_dataflow_cfg
    from finn.builder.build_dataflow_config import DataflowOutputType

    config = configuration(folder)
    config.output_dir = str(folder / "finn-build")
    config.generate_outputs = [
        DataflowOutputType.ESTIMATE_REPORTS,
        DataflowOutputType.STITCHED_IP,
        DataflowOutputType.BITFILE,
        DataflowOutputType.PYNQ_DRIVER,
        DataflowOutputType.DEPLOYMENT_PACKAGE,
    ]
    return int(build_dataflow_cfg(str(folder / "model.onnx"), config))


def main() -> int:
    command, folder = sys.argv[1], Path(sys.argv[2]).resolve()
    generated = folder / "finn" / "generated"
    generated.mkdir(parents=True, exist_ok=True)
    os.environ["FINN_BUILD_DIR"] = str(generated)
    # Where FINN would look for settings, else in the home folder.
    os.environ.setdefault("FINN_SETTINGS", str(folder / "finn" / "settings.yaml"))
    os.chdir(folder)
    if command == "build":
        return build(folder)
    front(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
