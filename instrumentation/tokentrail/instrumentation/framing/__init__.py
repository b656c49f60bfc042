"""How a response body is cut into events, whatever the events mean."""
