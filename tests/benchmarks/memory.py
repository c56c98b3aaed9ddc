"""How much memory this process has taken at most."""

from pathlib import Path


def peak_kib() -> int:
    """Return the most memory that was resident, in KiB (Linux).

    `getrusage` counts that of the process which started this one as well.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
