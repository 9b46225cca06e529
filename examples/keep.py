"""Keep trained networks beside the examples: `make examples` trains them and runs this.

    python examples/keep.py build/digits/digits.onnx ...

Of each network NAME.onnx it leaves out what the exporter notes beside the nodes (where it was run, among other things),
and of NAME.npz, its held-out images, everything but the images and their labels.
"""

import sys
from pathlib import Path

import numpy as np
import onnx

FOLDER = Path(__file__).parent


def keep(path: Path) -> None:
    model = onnx.load(path)
    for part in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
    for part in (model.graph, model):
        part.ClearField("metadata_props")
    model.graph.ClearField("value_info")
    onnx.save(model, FOLDER / path.name)
    with np.load(path.with_suffix(".npz")) as data:
        np.savez_compressed(FOLDER / path.with_suffix(".npz").name, x=data["x"], y=data["y"].astype(np.uint8))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        keep(Path(name))
