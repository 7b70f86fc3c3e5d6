"""What engines of every family share."""
