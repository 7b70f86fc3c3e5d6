"""Models behind Protocols, numpy in and numpy out: `music`, `separation`, `analysis`, and `common` to all."""
