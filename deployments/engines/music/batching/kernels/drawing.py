"""Drawing tokens: guidance, temperature, top-k and one Gumbel-max draw, as `sampling.choose` does it.

The noise of a token is made where the token can still be drawn; its random bits are `philox.gumbel`'s.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# The types of kernels are numba's: those of the call, or of the signature.

from __future__ import annotations

import numpy as np

from deployments.engines.music.batching.kernels.compiling import entry_point, kernel

_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_MASK, _WORD = np.uint64(0xFFFFFFFF), np.uint64(32)


@kernel
def noise(seed, step, codebook, token):
    """Standard Gumbel noise, float32; its twin is `philox.gumbel`."""
    c0, c1, c2, c3 = np.uint64(token // 4), np.uint64(codebook), np.uint64(step), np.uint64(0)
    k0, k1 = np.uint64(seed), np.uint64(0)
    for _ in range(10):
        first, second = c0 * _MULTIPLIER_0, c2 * _MULTIPLIER_1
        c0, c1, c2, c3 = (
            (second >> _WORD) ^ c1 ^ k0,
            second & _MASK,
            (first >> _WORD) ^ c3 ^ k1,
            first & _MASK,
        )
        k0, k1 = (k0 + _WEYL_0) & _MASK, (k1 + _WEYL_1) & _MASK
    place = token % 4
    word = c0 if place == 0 else (c1 if place == 1 else (c2 if place == 2 else c3))
    uniform = (np.float32(word >> np.uint64(9)) + np.float32(0.5)) * np.float32(2.0**-23)
    return -np.log(-np.log(uniform))


@kernel
def nth_largest(values, count, keys):
    """The `count`-th largest of float32[n]; `keys` is room for uint32[n]. Its twin is `np.partition`.

    Found bit by bit from the top, by counting how many values are not below: loops that vectors are good at.
    """
    bits = values.view(np.uint32)
    for index in range(values.shape[0]):
        # In the order of the floats: of negative ones all bits are turned round, of others the sign.
        negative = np.uint32(0) - (bits[index] >> np.uint32(31))
        keys[index] = bits[index] ^ (negative | np.uint32(0x80000000))
    found = np.uint32(0)
    for place in range(32):
        candidate = found | (np.uint32(0x80000000) >> np.uint32(place))
        not_below = np.int32(0)
        for index in range(keys.shape[0]):
            not_below += np.int32(keys[index] >= candidate)
        if not_below >= count:
            found = candidate
    for index in range(keys.shape[0]):
        if keys[index] == found:
            return values[index]
    return values[0]


@entry_point("void(float32[:, ::1], int64[:, ::1], float32[:, ::1], int64, int64[:, ::1])")
def draw(logits, counters, settings, codebooks, drawn):
    """One token for each codebook of each take.

    logits: [rows, codebooks * card]; counters: [take, (conditional row, null row, top_k, seed, step)], of which
    top_k is the card for no limit; settings: [take, (guidance, temperature, 1 for noise or 0)]; drawn, the
    result: [take, codebook]
    """
    card = logits.shape[1] // codebooks
    scaled = np.empty(card, np.float32)
    keys = np.empty(card, np.uint32)
    for take in range(counters.shape[0]):
        row, null, top_k = counters[take, 0], counters[take, 1], counters[take, 2]
        guidance, temperature, noisy = settings[take, 0], settings[take, 1], settings[take, 2]
        for codebook in range(codebooks):
            first = codebook * card
            for token in range(card):
                without = logits[null, first + token]
                scaled[token] = (without + (logits[row, first + token] - without) * guidance) / temperature
            lowest = np.float32(-np.inf)
            if top_k < card and noisy > 0:
                lowest = nth_largest(scaled, top_k, keys)
            best, best_score = 0, np.float32(-np.inf)
            for token in range(card):
                if scaled[token] >= lowest:
                    score = scaled[token]
                    if noisy > 0:
                        score += noise(counters[take, 3], counters[take, 4], codebook, token)
                    if score > best_score:
                        best, best_score = token, score
            drawn[take, codebook] = best
