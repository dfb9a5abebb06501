"""Tests of torfluxd.influx."""
