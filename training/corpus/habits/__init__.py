"""Composers with habits of their own: each module writes another kind of music, with its own harmony, bass, drums,
melody and instruments. What is learned from some of them is judged on the others."""
