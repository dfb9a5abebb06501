"""Tests of torfluxd.reporter."""
