"""Tests of torfluxd.delivery."""
