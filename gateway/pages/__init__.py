"""The kit of a person's pages: rendering, language, headers, session, what stands in a request."""
