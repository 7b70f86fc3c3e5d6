"""The job worker: claims, heartbeats, cancellation, retries and the sweep."""
