"""What every release has sent, recorded: every gateway goes on taking it."""
