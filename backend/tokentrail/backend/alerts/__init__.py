"""Alerts in the terms that users know: read from YAML, evaluated exactly over the stored calls, rendered as rules."""
