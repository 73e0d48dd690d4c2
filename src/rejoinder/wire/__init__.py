"""The wire: HTTP client, server-sent events, encoding of bodies, redaction of secrets."""
