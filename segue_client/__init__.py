"""The command `segue` and its HTTP client; imports nothing of the server."""
