"""Arithmetic of a tensor and a constant, as torch networks write it: functions, methods and operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from hwgen.frontends import images
from hwgen.frontends.chain import Chain, Refuse, append_affine

FunctionImporter = Callable[[Chain, str, Sequence[Any], Mapping[str, Any], Refuse], None]
"""(chain, name, arguments, named arguments, refuse): adds what a traced function or method does."""


def _arithmetic(
    kind: str, chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse
) -> None:
    if kwargs or len(args) != 2:
        raise refuse("it needs two operands and no options")
    constants = [i for i, arg in enumerate(args) if isinstance(arg, int | float | np.ndarray)]
    if len(constants) != 1:
        raise refuse("one operand must be a constant")
    first = constants[0] == 0
    # Computed in float32 by torch.
    operand = np.asarray(args[constants[0]], dtype=np.float32)
    if operand.size > 1 and operand.ndim >= len(chain.shape) > 1:
        images.channels_last(chain, refuse)
    value = chain.per_channel(operand, refuse)
    if kind == "mul":
        append_affine(chain, name, name, mul=value)
    elif kind == "add":
        append_affine(chain, name, name, add=value)
    elif kind == "sub":
        append_affine(chain, name, name, mul=-1 if first else 1, add=value if first else -value)
    elif first or (value == 0).any():
        raise refuse("a constant divided by the tensor, or a division by zero, is not affine")
    else:
        append_affine(chain, name, name, div=value)


def _rsub(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    _arithmetic("sub", chain, name, args[::-1], kwargs, refuse)


def _negative(chain: Chain, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], refuse: Refuse) -> None:
    append_affine(chain, name, name, mul=-1.0)


ARITHMETIC: dict[str, FunctionImporter] = {
    **dict.fromkeys(("add", "add_", "iadd"), partial(_arithmetic, "add")),
    **dict.fromkeys(("div", "div_", "divide", "itruediv", "truediv"), partial(_arithmetic, "div")),
    **dict.fromkeys(("imul", "mul", "mul_", "multiply"), partial(_arithmetic, "mul")),
    **dict.fromkeys(("isub", "sub", "sub_", "subtract"), partial(_arithmetic, "sub")),
    **dict.fromkeys(("neg", "negative"), _negative),
    "rsub": _rsub,
}
"""By the name of the function, method or operator; those that work in place give the same."""
