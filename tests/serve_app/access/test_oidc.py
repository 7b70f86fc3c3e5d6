"""Tokens of an issuer: who holds them, for how long, and everything that is wrong with one."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from configs.settings import OidcSettings
from serve_app.access.oidc import REFRESH_S, NotAToken, Tokens

ISSUER = "https://id.example"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
STRANGER = rsa.generate_private_key(65537, 2048)


class Issuer:
    """Answers as an issuer does; `asked` counts how often its keys were read."""

    def __init__(self) -> None:
        self.keys = {"one": (jwt.algorithms.RSAAlgorithm, RSA)}
        self.asked = 0
        self.is_up = True

    def answer(self, request: httpx.Request) -> httpx.Response:
        if not self.is_up:
            return httpx.Response(503)
        if request.url.path == "/.well-known/openid-configuration":
            return httpx.Response(200, json={"jwks_uri": f"{ISSUER}/keys"})
        self.asked += 1
        keys = [
            {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid}  # type: ignore[attr-defined]
            for kid, (algorithm, key) in self.keys.items()
        ]
        return httpx.Response(200, json={"keys": [*keys, {"kty": "strange", "kid": "odd"}]})


def token(key: Any = RSA, kid: str = "one", algorithm: str = "RS256", **changes: Any) -> str:
    now = int(time.time())
    claims: dict[str, Any] = {"iss": ISSUER, "sub": "ann", "aud": "segue", "exp": now + 60, **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"kid": kid})


def tokens(issuer: Issuer, clock: list[float] | None = None, **changes: Any) -> Tokens:
    settings = OidcSettings(**{"issuer": ISSUER, "audience": "segue", **changes})
    now = clock or [0.0]
    return Tokens(settings, transport=httpx.MockTransport(issuer.answer), monotonic=lambda: now[0])


async def test_a_good_token_names_its_tenant_and_tier() -> None:
    issuer = Issuer()
    verify = tokens(issuer).verify
    found = await verify(token())
    assert (found.tenant, found.tier, found.subject) == ("ann", "free", "ann")
    assert (await verify(token(segue_tier="paid"))).tier == "paid"
    odd = await verify(token(sub="auth0|ann@example"))
    assert odd.tenant.startswith("oidc-")
    assert odd.tenant != (await verify(token(sub="auth0|bob@example"))).tenant
    assert issuer.asked == 1


@pytest.mark.parametrize(
    "bad",
    [
        token(exp=int(time.time()) - 3600),
        token(exp=None),
        token(iss="https://other.example"),
        token(iss=None),
        token(aud="another"),
        token(aud=None),
        token(sub=None),
        token(nbf=int(time.time()) + 3600),
        token(key=STRANGER),
        token(kid="unknown"),
        token(key="a secret that two would share, long enough", algorithm="HS256"),
        jwt.encode({"iss": ISSUER, "sub": "ann", "aud": "segue"}, None, algorithm="none"),
        token()[:-4] + "AAAA",
        "a.b.c",
        "..",
    ],
)
async def test_a_bad_one_is_refused(bad: str) -> None:
    with pytest.raises(NotAToken):
        await tokens(Issuer()).verify(bad)


async def test_the_issuers_new_keys_are_found_and_made_up_ones_cost_it_nothing() -> None:
    issuer, clock = Issuer(), [0.0]
    verify = tokens(issuer, clock).verify
    await verify(token())
    issuer.keys["two"] = (jwt.algorithms.ECAlgorithm, EC)
    second = token(key=EC, kid="two", algorithm="ES256")
    for _ in range(20):
        with pytest.raises(NotAToken):
            await verify(token(kid="made up"))
    assert issuer.asked == 1
    clock[0] += REFRESH_S
    assert (await verify(second)).tenant == "ann"
    assert issuer.asked == 2
    issuer.is_up = False
    clock[0] += 7200.0
    assert (await verify(second)).tenant == "ann"  # what is known holds on
