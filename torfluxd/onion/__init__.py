"""Speaks Tor. Knows no InfluxDB."""
