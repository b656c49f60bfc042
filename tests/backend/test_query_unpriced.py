"""Which calls count as unpriced, on the real store."""

import json
from pathlib import Path

from support.calls import call
from tokentrail.backend.access.caller import ANYONE
from tokentrail.backend.query.api import Api
from tokentrail.backend.store.chdb import ChdbStore


def test_a_call_lacks_a_price_unless_it_failed_before_it_used_anything(tmp_path: Path) -> None:
    store = ChdbStore(tmp_path / "store")
    try:
        store.migrate()
        reasons = ("unknown_model", "no_usage", "invalid_usage", "failed")
        store.insert([], [call(), *(call(cost_usd=None, cost_components={}, pricing_status=each) for each in reasons)])

        total = json.loads(Api(store).handle("/api/totals", {}, ANYONE).body)
    finally:
        store.close()

    assert (total["requests"], total["unpriced"]) == (5, 3)
