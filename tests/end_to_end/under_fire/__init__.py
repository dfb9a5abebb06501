"""A gateway and an influxd that are killed, stopped, starved and lied to, while strangers write.

None of these tests needs tor. Each counts in the end: what was acknowledged is there, once.
"""
