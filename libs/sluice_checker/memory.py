"""How much memory this process has needed."""

import resource
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_memory_mib() -> int:
    """The largest resident size of this process so far, in MiB.

    From the kernel's account of this very program: `getrusage` also counts what stood in the parent's memory
    when it was forked.
    """
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) // 1024
