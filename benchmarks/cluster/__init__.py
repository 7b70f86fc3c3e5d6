"""Several replicas on S3, and bursts."""
