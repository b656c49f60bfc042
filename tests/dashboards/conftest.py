"""What the tests of dashboards share."""

from collections.abc import Iterator

import pytest

from support import dashboard_store


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dashboard_store.Seeded]:
    """The seeded calls in a store, for reading."""
    with dashboard_store.seeded(tmp_path_factory.mktemp("seeded")) as found:
        yield found
