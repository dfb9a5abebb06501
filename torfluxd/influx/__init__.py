"""Speaks InfluxDB. Knows no Tor and no disk."""
