"""Machine code for the few loops over bytes that numpy would take many calls for.

Compiled by numba when a function is first called, some seconds for all of them. It is kept beside the source,
or in NUMBA_CACHE_DIR, or in the user's cache; where none of these can be written, each process compiles for
itself.

Indices are best `np.uintp`: numba asks of any other whether it is negative and counts from the end, and then
loops are not vectorised.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])
_machine_code = partial(numba.njit, nogil=True)


def compiled(function: _Function) -> _Function:
    """The function as machine code, which runs without the interpreter's lock."""
    try:
        made = _machine_code(cache=True)(function)
    except RuntimeError:  # no place to keep it
        made = _machine_code()(function)
    return cast("_Function", made)
