"""What operators see: metrics, logs, systemd, the status page."""
