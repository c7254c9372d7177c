from pathlib import Path

from sluice_kit.artifacts import AsyncArtifactStore, SealConflict, open_store


async def test_the_same_verbs_on_an_event_loop(tmp_path: Path) -> None:
    store = AsyncArtifactStore(open_store(tmp_path))
    locator = await store.seal("dla/a", b"a")
    assert isinstance(await store.seal("dla/a", b"b"), SealConflict)
    assert await store.read(locator) == b"a"
    assert await store.exists(await store.put_content("wsp", b"plan", ".json"))
