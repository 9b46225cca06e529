"""The payload of a stream of beats: `{last, first, shared, lanes}`, lane 0 in the least significant bits."""

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data, stream

from hwgen.errors import HwgenError
from hwgen.formats import Blocked
from hwgen.ir import Beats, TensorType


def lane_shape(beats: Beats) -> Shape:
    """The shape of one lane's code: two's complement where the codes are signed."""
    return signed(beats.bits) if beats.signed else unsigned(beats.bits)


def payload(beats: Beats) -> data.StructLayout:
    """Layout of one beat: `lanes` (array), `shared` where codes share bits, `first` and `last` (of the frame)."""
    shared = {"shared": beats.shared} if beats.shared else {}
    lanes = data.ArrayLayout(lane_shape(beats), beats.lanes)
    return data.StructLayout({"lanes": lanes, **shared, "first": 1, "last": 1})


def signature(beats: Beats) -> stream.Signature:
    """A valid/ready stream of such beats."""
    return stream.Signature(payload(beats))


def beats_of(tensor: TensorType, lanes: int) -> Beats:
    """How frames of `tensor` travel over `lanes` lanes.

    Raises HwgenError if the lanes do not divide the channels, or the blocks that share a scale.
    """
    if tensor.channels % lanes:
        raise HwgenError(f"lanes must divide the channels: {lanes} lanes, {tensor.channels} channels")
    fmt = tensor.codes_format
    if isinstance(fmt, Blocked):
        block = fmt.block
        if block.size % lanes:
            raise HwgenError(f"lanes must divide the blocks: {lanes} lanes, blocks of {block.size}")
        return Beats(lanes, block.element.bits, False, tensor.size // lanes, block.scale.bits)
    return Beats(lanes, fmt.bits, fmt.signed, tensor.size // lanes)
