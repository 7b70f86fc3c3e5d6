"""Object stores: the Protocol, memory, a local folder, S3; and documents changed by compare-and-swap."""
