"""`demucs.htdemucs.HTDemucs` as a CPU is quickest at it: the same network, in about half the time.

What is saved: copies between layouts (everything is channels-last), passes over memory (activations, gates and
layer scales are part of the products), slow kernels for small sizes, scores of the attention in main memory, and
the inverse transform of sources that nobody wants.
"""
