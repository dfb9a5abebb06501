"""Tests of torfluxd.onion."""
