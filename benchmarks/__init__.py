"""Measurements of the gateway, side by side with its peers: `make bench`."""
