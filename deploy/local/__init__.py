"""The embedded installation: supervisor, zygote, PostgreSQL, token, stand-ins for relay and identity provider, demo."""
