"""Typed access to what the store holds: chains, jobs, exports, blobs, segments, analyses."""
