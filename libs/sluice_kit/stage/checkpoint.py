"""Checkpoints: sealed snapshots of state, named by the basis log; sealing never stops a step."""

import shutil
import tempfile
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict

from sluice_kit.artifacts import ArtifactStore, Locator, SealConflict
from sluice_kit.places import Place
from sluice_kit.stage.errors import StageError
from sluice_kit.stage.giving_way import giving_way, rest, restfully
from sluice_kit.stage.model import FrozenState, StageState

log = structlog.get_logger(__name__)

CHECKPOINT_PREFIX = "checkpoints"
_ONE_AT_A_TIME = threading.Lock()
"""Sealings of a chain's members take turns: a step shares the interpreter with one of them, not with six."""


class CheckpointFile(BaseModel):
    """One immutable file of a snapshot; a file that did not change keeps its name and locator."""

    model_config = ConfigDict(frozen=True)

    name: str
    locator: Locator


class CheckpointManifest(BaseModel):
    """Everything a start needs: the state's files and where the batches after it begin."""

    model_config = ConfigDict(frozen=True)

    service: str
    shard: int
    batch_no: int
    now: int
    code_rev: str
    basis_next: int
    """Offset in the basis partition behind the record of `batch_no`."""
    positions: tuple[tuple[str, int, int], ...]
    files: tuple[CheckpointFile, ...]


@dataclass(frozen=True, slots=True)
class CheckpointPoint:
    """Where in a stage's history a snapshot stands."""

    batch_no: int
    now: int
    basis_next: int
    positions: dict[Place, int]


Kept = tuple[Locator, CheckpointManifest]
"""A checkpoint: where its manifest is, and what that says."""


@dataclass(slots=True)
class _Sealing:
    thread: threading.Thread
    result: Locator | None = None
    error: Exception | None = None


class Checkpointer:
    """Seals one member's snapshots in a background thread and keeps the last two that were published.

    In a chain a checkpoint counts once every member has sealed its own: they are published together, so
    that a start finds them at one batch. A failure (a full disk, a store that is away) leaves the last
    checkpoint in place and is reported by `problem`; the stage goes on and tries again at its next interval.
    """

    def __init__(
        self, store: ArtifactStore, folder: Path, *, service: str, shard: int, code_rev: str
    ) -> None:
        self._store = store
        self._folder = folder
        self._service = service
        self._shard = shard
        self._code_rev = code_rev
        self._prefix = f"{CHECKPOINT_PREFIX}/{service}/{shard}"
        self._sealed: dict[str, Locator] = {}
        self._kept: list[Kept] = []
        self._ready: Kept | None = None
        self._given_up: list[Kept] = []
        self._sealing: _Sealing | None = None
        self._hurry = threading.Event()
        self.problem: str | None = None
        self.sealed_at = time.monotonic()

    @property
    def ready(self) -> bool:
        """Whether a snapshot was sealed that is not published yet."""
        return self._ready is not None

    @property
    def latest(self) -> Locator | None:
        """The newest published checkpoint."""
        return self._kept[-1][0] if self._kept else None

    @property
    def state_bytes(self) -> int:
        """Size of the state in the newest complete checkpoint, 0 where there is none."""
        return sum(file.locator.bytes for file in self._kept[-1][1].files) if self._kept else 0

    def adopt(self, locator: Locator, manifest: CheckpointManifest) -> None:
        """Start from a restored checkpoint, so that its unchanged files are not sealed again."""
        self._kept = [(locator, manifest)]
        self._sealed = {file.name: file.locator for file in manifest.files}

    def read(self, locator: Locator) -> CheckpointManifest:
        """The manifest behind a locator, its digest verified."""
        return CheckpointManifest.model_validate_json(self._store.read(locator))

    def restore(self, state: StageState, manifest: CheckpointManifest) -> None:
        """Load a sealed snapshot into `state`; every file's digest is verified on the way."""
        self._folder.mkdir(parents=True, exist_ok=True)
        paths = [self._fetch(file) for file in manifest.files]
        state.load(paths)

    def start(self, frozen: FrozenState, point: CheckpointPoint) -> None:
        """Begin sealing; does nothing when the previous one is still under way.

        One that was sealed and not published until now never will be.
        """
        if self._sealing is not None:
            return
        if self._ready is not None:
            self._given_up.append(self._ready)
            self._ready = None

        def work() -> None:
            try:
                with _ONE_AT_A_TIME, giving_way(self._hurry):
                    sealing.result = self._seal(frozen, point)
                    rest()
            except Exception as error:  # noqa: BLE001 - reported by finished(), the stage goes on
                sealing.error = error

        thread = threading.Thread(name=f"checkpoint-{self._service}", daemon=True, target=work)
        sealing = _Sealing(thread)
        self._sealing = sealing
        sealing.thread.start()

    def hurry(self) -> None:
        """From here on sealing gives way to nobody: there are no more steps."""
        self._hurry.set()

    def finished(self, *, wait_seconds: float = 0.0) -> Locator | None:
        """The locator of a sealing that came to its end since the last call."""
        if self._sealing is None:
            return None
        sealing = self._sealing
        sealing.thread.join(wait_seconds)
        if sealing.thread.is_alive():
            return None
        self._sealing = None
        if sealing.error is not None:
            self.problem = f"checkpoint failed: {sealing.error}; the last good one stays in use"
            log.error("checkpoint.failed", service=self._service, error=str(sealing.error))
            return None
        self.problem = None
        self.sealed_at = time.monotonic()
        return sealing.result

    def publish(self) -> None:
        """From here on the sealed snapshot is the newest checkpoint; what only older ones name is removed."""
        if self._ready is None:
            return
        self._kept.append(self._ready)
        self._ready = None
        gone, self._kept, self._given_up = [*self._given_up, *self._kept[:-2]], self._kept[-2:], []
        kept = {locator.uri for locator, _ in self._kept}
        # one that was given up and then sealed again at the same batch has the same content, and address
        gone = [item for item in gone if item[0].uri not in kept]
        needed = {file.locator.uri for _, manifest in self._kept for file in manifest.files}
        threading.Thread(target=self._prune, args=(gone, needed), daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether a sealing is under way."""
        return self._sealing is not None

    def _seal(self, frozen: FrozenState, point: CheckpointPoint) -> Locator:
        self._folder.mkdir(parents=True, exist_ok=True)
        paths = frozen.write(self._folder)
        files = tuple(
            CheckpointFile(name=path.name, locator=self._seal_file(path)) for path in restfully(paths)
        )
        manifest = CheckpointManifest(
            service=self._service,
            shard=self._shard,
            batch_no=point.batch_no,
            now=point.now,
            code_rev=self._code_rev,
            basis_next=point.basis_next,
            positions=tuple((t, p, offset) for (t, p), offset in sorted(point.positions.items())),
            files=files,
        )
        locator = self._store.put_content(self._prefix, manifest.model_dump_json().encode(), ".json")
        self._sealed = {file.name: file.locator for file in files}
        self._ready = (locator, manifest)
        return locator

    def _seal_file(self, path: Path) -> Locator:
        known = self._sealed.get(path.name)
        if known is not None:
            return known
        outcome = self._store.link_file(f"{self._prefix}/files/{path.name}", path)
        if isinstance(outcome, SealConflict):
            raise StageError(f"checkpoint file {path.name} was sealed before with other bytes: {outcome}")
        return outcome

    def _prune(self, gone: Sequence[Kept], needed: Collection[str]) -> None:
        """Remove checkpoints, and those of their files that are not needed any more."""
        for locator, manifest in gone:
            for file in manifest.files:
                if file.locator.uri not in needed:
                    self._store.prune(file.locator)
                    (self._folder / file.name).unlink(missing_ok=True)
            self._store.prune(locator)

    def _fetch(self, file: CheckpointFile) -> Path:
        """The file in the state folder: what is there already when its digest fits, else from the store."""
        target = self._folder / file.name
        if target.is_file() and type(file.locator.digest).of_file(target) == file.locator.digest:
            return target
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as part:
            for chunk in self._store.open_verified(file.locator):
                part.write(chunk)
        shutil.move(part.name, target)
        return target
