"""Keeps and carries batches. Knows neither InfluxDB nor Tor."""
