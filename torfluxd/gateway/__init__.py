"""The server side: composes influx, onion and delivery."""
