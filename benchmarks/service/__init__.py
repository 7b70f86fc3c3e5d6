"""The running service: takes, events, reads, uploads."""
