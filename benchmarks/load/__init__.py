"""Musicians at work on a cluster: what it holds, and how it scales."""
