"""MusicGen with continuous batching, over audiocraft's checkpoints and conditioners.

Read in this order: `decoder` (the transformer with its cache), `sequence` (the delay pattern), `sampling`,
`take` (one request under way), `batch` (all of them, step by step), `engine` (the asynchronous outside).
"""
