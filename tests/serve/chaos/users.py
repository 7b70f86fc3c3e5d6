"""The load: users who share chains, each in a thread of its own, with dice of its own."""

from __future__ import annotations

import hashlib
import random
import threading
from collections import Counter
from typing import Any

from tests.serve.chaos.promises import Promises, Request, Shown, Sight
from tests.serve.event_source import EventSource
from tests.serve.patient import PatientClient
from tests.support.clips import encoded, music

CLIP_S = 2.0
RATE_HZ = 16_000
"""Mono, as small as audio may be: what is tried here is not the bandwidth."""

TAKES_S = (0.5, 12.0)
PAUSES_S = (0.2, 2.0)
MOST_UNFINISHED = 4
HANG_UP_S = (0.005, 0.2)
"""How soon a user hangs up who does so on purpose: before or after anything was written."""

ASYNC = {"Prefer": "respond-async"}

Record = dict[str, Any]


class User:
    """Uploads, branches, listens, commits, discards, cancels and exports, until told to stop.

    Everything asked for is asked for until it is answered. `failure` is what ended it early.
    """

    def __init__(self, name: str, seed: int, url: str) -> None:
        self.name = name
        self._luck = random.Random(f"{seed} {name}")
        self._url = url
        self._http = PatientClient(url)
        self._asked = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._use, name=name, daemon=True)
        self._page: EventSource | None = None
        self.pages: list[EventSource] = []
        self.promises = Promises()
        self.doings: Counter[str] = Counter()
        self.failure: BaseException | None = None

    @property
    def unanswered(self) -> Counter[str]:
        return self._http.unanswered

    def start(self, chain_id: str | None = None) -> None:
        """On somebody else's chain, or one of its own, which is then there."""
        self._open(chain_id or self._upload())
        self._thread.start()

    def stop(self) -> None:
        """After what it is at."""
        self._stopped.set()
        self._thread.join()

    def close(self) -> Promises:
        """Look away; gives what it was told in all that time."""
        for page in self.pages:
            page.close()
            nodes = {
                node["id"]: (node["status"], node["decision"], (node["audio"] or {}).get("sha256"))
                for node in page.nodes.values()
            }
            self.promises.sights.append(Sight(page.chain_id, page.version, nodes))
            for node_id, hashes in page.hashes.items():
                for sha256 in hashes:
                    self.promises.hear(node_id, sha256)
        return self.promises

    @property
    def page(self) -> EventSource:
        """What it looks at."""
        assert self._page is not None
        return self._page

    def _open(self, chain_id: str) -> None:
        self._page = EventSource(self._url, chain_id)
        self.pages.append(self._page)

    def _use(self) -> None:
        doings = {
            self._branch: 12,
            self._commit: 4,
            self._discard: 2,
            self._cancel: 1,
            self._export: 3,
            self._download: 2,
            self._listen: 2,
            self._new_root: 1,
        }
        try:
            while not self._stopped.wait(self._luck.uniform(*PAUSES_S)):
                (doing,) = self._luck.choices(list(doings), weights=list(doings.values()))
                doing()
        except BaseException as failure:
            self.failure = failure
            raise

    def _upload(self) -> str:
        clip = encoded(music(CLIP_S, RATE_HZ, channels=1, seed=self._luck.randrange(2**31)), RATE_HZ, "wav")
        answer = self._http.ask(
            "POST",
            "/v1/chains",
            key=self._key(),
            files={"file": ("clip.wav", clip)},
            data={"title": self.name},
        )
        chain_id: str = PatientClient.told(answer, 201)["id"]
        self.promises.uploads.add(chain_id)
        return chain_id

    def _branch(self) -> None:
        parents = self._nodes(lambda node: node["status"] == "ready" and node["decision"] != "discarded")
        if not parents or len(self._unfinished()) > MOST_UNFINISHED:
            return
        parent, takes = self._luck.choice(parents), self._luck.choice((1, 1, 2))
        path, body = f"/v1/chains/{self.page.chain_id}/nodes", {"parent_id": parent["id"], "takes": takes}
        self._ask_for_takes(path, body, takes)

    def _new_root(self) -> None:
        """And on with that one."""
        accepted = self._ask_for_takes("/v1/chains", {"title": self.name}, 1)
        if accepted is not None:
            self._open(accepted["id"])

    def _ask_for_takes(self, path: str, body: Record, takes: int) -> Record | None:
        """Now and then hanging up before the answer, and now and then once more after it."""
        request = Request(self._key(), f"{self.name}/{self._asked}", takes)
        wanted = {**body, "prompt": request.prompt, "duration_s": round(self._luck.uniform(*TAKES_S), 1)}
        self.promises.requests.append(request)
        hang_up_s = self._luck.uniform(*HANG_UP_S) if self._luck.random() < 0.25 else None
        accepted: Record | None = None
        for _ in range(self._luck.choice((1, 1, 1, 2))):
            lost = self.unanswered.total()
            answer = self._http.ask("POST", path, key=request.key, json=wanted, first_timeout_s=hang_up_s)
            request.times_sent += self.unanswered.total() - lost + 1
            if not answer.is_success:
                request.refusal = answer.status_code
                break
            accepted = answer.json()
            nodes = accepted["nodes"] if "job_ids" in accepted else [{"id": accepted["root_id"]}]
            job_ids = accepted.get("job_ids") or [accepted["job_id"]]
            request.answers.append((tuple(node["id"] for node in nodes), tuple(job_ids)))
        self.doings["requests for takes"] += 1
        return accepted

    def _commit(self) -> None:
        self._decide("commit", lambda node: node["status"] == "ready" and node["decision"] == "candidate")

    def _discard(self) -> None:
        node = self._decide("discard", lambda node: node["decision"] == "candidate")
        if node is not None:
            self.promises.discarded.add(node["id"])

    def _decide(self, what: str, may: Any) -> Record | None:
        """The node that it was done to; None if there was none, or it was refused."""
        nodes = self._nodes(may)
        if not nodes:
            return None
        node, chain_id = self._luck.choice(nodes), self.page.chain_id
        answer = self._http.ask("POST", f"/v1/chains/{chain_id}/nodes/{node['id']}/{what}")
        if answer.status_code != 200:
            return None
        chain = answer.json()
        self.promises.shown.append(Shown(chain_id, chain["version"], tuple(chain["spine"])))
        self.doings[what] += 1
        return node

    def _cancel(self) -> None:
        unfinished = self._unfinished()
        if not unfinished:
            return
        job_id = self._luck.choice(unfinished)["job_id"]
        job = PatientClient.told(self._http.ask("DELETE", f"/v1/jobs/{job_id}"), 200)
        if job["state"] == "cancelled":
            self.promises.cancelled.add(job_id)
            self.doings["cancel"] += 1

    def _export(self) -> None:
        if not self._nodes(lambda node: node["status"] == "ready" and node["decision"] == "committed"):
            return
        wanted = {"format": self._luck.choice(("wav", "flac", "mp3"))}
        path = f"/v1/chains/{self.page.chain_id}/export"
        answer = self._http.ask("POST", path, key=self._key(), json=wanted, headers=ASYNC)
        self.promises.exports.add(PatientClient.told(answer, 202)["job_id"])
        self.doings["export"] += 1

    def _download(self) -> None:
        nodes = self._nodes(lambda node: node["status"] == "ready")
        if not nodes:
            return
        node = self._luck.choice(nodes)
        answer = self._http.ask("GET", f"/v1/chains/{self.page.chain_id}/nodes/{node['id']}/audio")
        assert answer.status_code == 200, answer.text
        self.promises.hear(node["id"], hashlib.sha256(answer.content).hexdigest())
        self.doings["download"] += 1

    def _listen(self) -> None:
        """To a take while it is being made, from where it broke off if it did; up to its end, if it has one."""
        unfinished = self._unfinished()
        if not unfinished:
            return
        node = self._luck.choice(unfinished)
        heard = self._http.hear(f"/v1/jobs/{node['job_id']}/audio")
        if heard is not None:
            self.promises.hear(node["id"], hashlib.sha256(heard).hexdigest())
            self.doings["takes heard while they were made"] += 1

    def _nodes(self, may: Any) -> list[Record]:
        return [node for node in list(self.page.nodes.values()) if may(node)]

    def _unfinished(self) -> list[Record]:
        return self._nodes(lambda node: node["status"] in ("pending", "running"))

    def _key(self) -> str:
        self._asked += 1
        return f"{self.name}-{self._asked}"
