"""The collector: what is held, what may go, and the sweep that removes it."""
