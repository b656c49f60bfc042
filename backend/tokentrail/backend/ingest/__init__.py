"""From spans to durable rows: normalise, group, commit, then acknowledge and count."""
