"""The second reading of Cohere's rerank: https://docs.cohere.com/reference/rerank"""

import json
from dataclasses import replace

from support import expected_values as values
from support.expected_values import Expected
from support.wire import Exchange


def read(exchange: Exchange) -> Expected:
    """Read an exchange with Cohere; a rerank is billed in searches and tells no tokens."""
    body = json.loads(exchange.response_body)
    return replace(
        values.base(exchange, "rerank", exchange.request_json().get("model"), stream=False),
        response_id=body["id"],
    )
