"""Series that ended are looked for after every batch, so that small histories open and drop many."""

from collections.abc import Iterator

import pytest

from sluice_features import committed


@pytest.fixture(autouse=True, scope="package")
def sweep_after_every_batch() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(committed, "FEWEST_SWEPT", 1)
        yield
