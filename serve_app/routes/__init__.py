"""One module for each group of routes. A route authenticates, calls one service method, returns a schema."""
