"""A dashboard as the text of a file that Grafana provisions (the classic schema, Grafana 11.6 and newer)."""

import json
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from boards.board import Board

_FOREIGN: Final = ("auto", "auto_min", "auto_count")
"""What the SDK writes for every variable though only one kind has it."""


def text(board: Board) -> str:
    """JSON with sorted keys, ended by a line break."""
    document = json.loads(JSONEncoder().encode(board.build()))
    for variable in document["templating"]["list"]:
        for name in _FOREIGN:
            variable.pop(name, None)
    # The SDK puts both into the controls menu, where nobody finds them.
    for each in (*document["links"], *document["annotations"]["list"]):
        each.pop("placement", None)
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
