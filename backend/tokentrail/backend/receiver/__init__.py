"""Receiving OTLP: from bytes on a socket to spans, and the answers in the protocol's own terms."""
