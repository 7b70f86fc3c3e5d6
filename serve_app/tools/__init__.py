"""The stateless tools over HTTP: `/continue`, `/analyze`, `/generate`, `/compose`."""
