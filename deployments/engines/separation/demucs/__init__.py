"""Demucs's networks and bags, and a quick path for HTDemucs on CPUs."""
