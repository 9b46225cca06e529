"""The payload of a stream of beats: `{last, first, lanes}`, lane 0 in the least significant bits."""

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data, stream

from hwgen.errors import HwgenError
from hwgen.ir import Beats, TensorType


def lane_shape(beats: Beats) -> Shape:
    """The shape of one lane's code: two's complement where the codes are signed."""
    return signed(beats.bits) if beats.signed else unsigned(beats.bits)


def payload(beats: Beats) -> data.StructLayout:
    """Layout of one beat: `lanes` (array), `first` and `last` (of the frame)."""
    return data.StructLayout({"lanes": data.ArrayLayout(lane_shape(beats), beats.lanes), "first": 1, "last": 1})


def signature(beats: Beats) -> stream.Signature:
    """A valid/ready stream of such beats."""
    return stream.Signature(payload(beats))


def beats_of(tensor: TensorType, lanes: int) -> Beats:
    """How frames of `tensor` travel over `lanes` lanes; raises HwgenError if the lanes do not divide the channels."""
    if tensor.channels % lanes:
        raise HwgenError(f"lanes must divide the channels: {lanes} lanes, {tensor.channels} channels")
    fmt = tensor.codes_format
    return Beats(lanes, fmt.bits, fmt.signed, tensor.size // lanes)
