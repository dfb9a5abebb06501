"""Tests of torfluxd.ops."""
