"""Attacks that succeed against a stock influxd, and what they come to at the gateway before it."""
