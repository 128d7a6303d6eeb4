"""The HTTP faces: parse, authenticate, authorise, write one row, answer."""
