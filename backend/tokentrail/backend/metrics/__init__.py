"""Metrics for Prometheus, derived from rows as they are committed. The only door to prometheus_client."""
