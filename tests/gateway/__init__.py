"""Tests of torfluxd.gateway."""
