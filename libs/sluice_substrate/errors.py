"""What can go wrong with the local substrate; every message says what, where and what to do."""


class SubstrateError(RuntimeError):
    """Base of all errors of the local substrate."""


class DownloadFailed(SubstrateError):
    """An artifact could not be fetched, or its bytes are not those that the lock file names."""


class StartFailed(SubstrateError):
    """A component died or did not answer in time; the message ends with its last log lines."""


class PortLost(StartFailed):
    """Another process took the chosen port between the choice and the start."""


class NotRunning(SubstrateError):
    """The operation needs a component that is not up."""


class Unreachable(SubstrateError):
    """An external cluster, database or registry does not answer as its wiring file says."""
