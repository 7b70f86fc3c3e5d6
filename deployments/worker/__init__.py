"""Jobs at work: claims, attempts, heartbeats, live segments."""
