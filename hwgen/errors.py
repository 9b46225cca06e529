"""The errors that users see: one message that names the place, the rule and the value.

The command line prints the message of an `HwgenError` alone, without a traceback, and exits with its `exit_code`.
"""


class HwgenError(Exception):
    """Anything the user can mend: bad input, a broken file, a wrong option."""

    exit_code = 1


class UnsupportedError(HwgenError):
    """A network, node or format that hwgen cannot carry to hardware; the message names the node and the reason."""

    exit_code = 3


class DoesNotFitError(HwgenError):
    """A design that needs more than the board has; the message says by how much, per resource."""

    exit_code = 4


class ToolMissingError(HwgenError):
    """An external tool that is not installed; the message names it, what was produced and what to run next."""

    exit_code = 5


class ToolFailedError(HwgenError):
    """An external tool that failed; the message has its last lines and the path of its log."""

    exit_code = 6


class MismatchError(HwgenError):
    """Hardware and golden model disagree; the message names node, frame, beat, lane and both codes."""

    exit_code = 7
