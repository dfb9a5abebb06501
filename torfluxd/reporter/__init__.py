"""The client side: composes influx, onion and delivery. Never imports gateway."""
