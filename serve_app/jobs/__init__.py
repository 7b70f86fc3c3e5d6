"""Jobs over HTTP: admission, idempotency, reading, cancelling."""
