"""The promises of torfluxd, as sentences. The folders mirror the package."""
