"""Machine code for the few loops over bytes that numpy would take many calls for.

Compiled by numba when a function is first called (a second or two), and kept beside its source where that can
be written. Indices are best `np.uintp`: numba asks of any other whether it is negative and counts from the
end, and then loops are not vectorised.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """The function as machine code, which runs without the interpreter's lock."""
    return cast("_Function", numba.njit(nogil=True, cache=True)(function))
