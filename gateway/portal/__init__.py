"""The recipient's pages: the letter, deciding, taking the contents and proofs home, answering a consent request."""
