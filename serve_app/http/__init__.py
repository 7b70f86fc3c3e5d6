"""HTTP itself: problems, middleware, forms, ranges, event streams; no feature of its own."""
