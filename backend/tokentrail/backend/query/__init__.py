"""Reading the store: the HTTP API behind `/api/`, and the SQL under it."""
