"""Bytes that nobody would send, sent to the gateway in memory."""
