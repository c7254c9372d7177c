"""What can go wrong around a stage, as one small tree; each has the exit code its process ends with."""


class StageError(Exception):
    """Base of everything that stops a stage's process."""

    exit_code = 70


class FencedError(StageError):
    """Another instance of the same shard took over. The process stays down; nothing is lost."""

    exit_code = 78


class ReplayDivergenceError(StageError):
    """REPLAY_DIVERGENCE: stepping logged batches again gave other outputs than were committed."""

    exit_code = 71


class ReplayInputGoneError(StageError):
    """REPLAY_INPUT_GONE: records that a restart has to step again are no longer in the log."""

    exit_code = 72


class PoisonLimitError(StageError):
    """The step raised on too many records: a bad deployment, not bad data. The batch is not written."""

    exit_code = 73


class ChainNotDrainedError(StageError):
    """A chained member is behind the Event Bus; drain the old topology before the new one starts."""

    exit_code = 74


class ChainOutputError(StageError):
    """A member put out what it cannot in this chain: a bug of the stage or of the chain's order."""


class TransactionUnknownError(StageError):
    """The outcome of a commit is not known; the runner re-reads the basis log to learn it."""


class TransactionAbortedError(StageError):
    """The transaction was aborted; the same batch can be stepped again."""
