"""A sender's program: the typed client of the HTTP API and the verbs `send` and `get`. Imports nothing else of ours."""
