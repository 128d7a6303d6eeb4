"""Telling people by mail: the notice of a letter, the request for a consent, and handing them to the relay."""
