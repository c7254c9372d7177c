"""The store for code on an event loop: the same verbs, run on threads."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sluice_kit.artifacts.locator import Locator
from sluice_kit.artifacts.store import ArtifactStore, SealConflict


class AsyncArtifactStore:
    """Awaitable forms of ArtifactStore's verbs; see there for results and errors."""

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store

    async def seal(self, path: str, data: bytes | Path, *, schema_version: int = 1) -> Locator | SealConflict:
        """See ArtifactStore.seal."""
        return await asyncio.to_thread(self.store.seal, path, data, schema_version=schema_version)

    async def put_content(
        self, prefix: str, data: bytes, suffix: str = "", *, schema_version: int = 1
    ) -> Locator:
        """See ArtifactStore.put_content."""
        return await asyncio.to_thread(
            self.store.put_content, prefix, data, suffix, schema_version=schema_version
        )

    async def read(self, locator: Locator) -> bytes:
        """See ArtifactStore.read."""
        return await asyncio.to_thread(self.store.read, locator)

    async def exists(self, where: Locator | str) -> bool:
        """See ArtifactStore.exists."""
        return await asyncio.to_thread(self.store.exists, where)
