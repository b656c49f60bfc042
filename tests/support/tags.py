"""Where the code that asks is, by the tags of its context."""

from tokentrail.instrumentation.context import current_tags


def where() -> tuple[str, str]:
    """Session id and session path."""
    tags = current_tags()
    return tags.session_id, tags.session_path
