"""Tests of torfluxd.settings."""
