"""Audio over HTTP: files of nodes, and takes while they are being made."""
