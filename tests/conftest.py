"""Networks and helpers that several tests share."""

from __future__ import annotations

import gc
import itertools

import numpy as np
import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from hwgen.formats import Int
from hwgen.ir import Graph, Node, TensorType, Value
from hwgen.ops import MatVec, Thresholds


class Together(LoadScopeScheduling):
    """Tests of one file of tests/e2e share trained networks and what is built of them: one process runs them in order.
    All others go wherever there is room. (pytest 9.2 leaves xdist's own mark for groups without effect.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file.startswith("tests/e2e/") else nodeid

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        # What is done is dropped: xdist counts through all of it after every test.
        scope = self._split_scope(self.registered_collections[node][item_index])
        if all(self.assigned_work[node][scope].values()):
            del self.assigned_work[node][scope]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Together:
    return Together(config, log)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The modules and tests stay to the end: no garbage collection looks through them again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def chain(name: str, kind: TensorType, *ops: tuple[str, object]) -> Graph:
    """A graph of operations one after the other, from an input called "x"."""
    nodes, last = [], "x"
    for label, op in ops:
        nodes.append(Node(label, op, (last,), f"{label}_out"))  # type: ignore[arg-type]
        last = f"{label}_out"
    return Graph(name, (Value("x", kind),), tuple(nodes), (last,))


def random_mlp(sizes: tuple[int, ...], bits: int = 4, seed: int = 0) -> Graph:
    """A frozen perceptron with random narrow weights and thresholds spread over its accumulators."""
    rng = np.random.default_rng(seed)
    fmt, act = Int(bits, narrow=True), Int(bits, is_signed=False)
    ops: list[tuple[str, object]] = []
    kind = TensorType((sizes[0],), act)
    for layer, (inner, out) in enumerate(itertools.pairwise(sizes)):
        op = MatVec(rng.integers(fmt.min, fmt.max + 1, (out, inner)), fmt)
        ops.append((f"fc{layer}", op))
        if layer < len(sizes) - 2:
            spread = int(np.sqrt(inner) * act.max * fmt.max / 2)
            table = np.sort(rng.integers(-spread // 4, spread, (out, act.max)), axis=1)
            low, high = op.infer(TensorType((inner,), act)).codes_format.code_range
            ops.append((f"act{layer}", Thresholds(np.clip(table, low, high), 0, act)))
    return chain(f"mlp{seed}", kind, *ops)


@pytest.fixture
def mlp() -> Graph:
    return random_mlp((12, 8, 6, 4))
