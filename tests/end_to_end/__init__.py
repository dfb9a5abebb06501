"""The whole way, with real tor and real influxd."""
