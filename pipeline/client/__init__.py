"""The sender's side: a typed client of the API and its verbs. httpx, and nothing else of ours."""
