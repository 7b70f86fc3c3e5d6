"""One run: a cluster, users at work, kills by the schedule, quiet, and the verdict of what is stored."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from configs.environment import load_settings
from storage.domain.jobs import JobState
from tests.serve.chaos.audit import Case, Finding, audit
from tests.serve.chaos.evidence import StoredObjects
from tests.serve.chaos.places import Place
from tests.serve.chaos.promises import merged
from tests.serve.chaos.schedule import Strike
from tests.serve.chaos.stand import NobodyToKill, Stand, Victim
from tests.serve.chaos.users import User
from tests.serve.cluster import wait_until
from tests.support.invariants import check_markers, read_versions

TENANT = "local"
USERS_PER_CHAIN = 2
JOBS_AT_ONCE = 4
BACK_TIMEOUT_S = 120.0
REST_TIMEOUT_S = 300.0
LOOK_S = 2.0


@dataclass(frozen=True)
class Report:
    """`serves_again` is False if the API or a part of the cluster did not come back after the last kill."""

    kills: Counter[Victim]
    jobs: Counter[JobState]
    failures: Counter[str]
    """Codes of the jobs that failed."""
    stray_markers: int
    doings: Counter[str]
    unanswered: Counter[str]
    users_lost: Sequence[str]
    serves_again: bool
    findings: Sequence[Finding]

    @property
    def violations(self) -> int:
        return sum(len(finding.violations) for finding in self.findings)

    @property
    def is_clean(self) -> bool:
        return self.serves_again and not self.violations and not self.users_lost


class Run:
    """`tell` hears each thing as it happens, with the seconds since the users began."""

    def __init__(
        self, place: Place, folder: Path, seed: int, users: int, tell: Callable[[str], None]
    ) -> None:
        self._place = place
        self._stand = Stand(
            folder, at_once=JOBS_AT_ONCE, kill_store=place.kill_server, deploys=True, **place.environment
        )
        self._users = [User(f"user-{number}", seed, self._stand.server.url) for number in range(users)]
        self._tell = tell
        self._began_s = time.monotonic()

    def play(self, schedule: Sequence[Strike], logs: Path | None = None) -> Report:
        """`logs` is a folder for those of the cluster, which would go with it."""
        kills: Counter[Victim] = Counter()
        try:
            self._stand.start()
            self._say("the cluster is up")
            self._start_users()
            for strike in schedule:
                time.sleep(strike.after_s)
                self._say(f"{strike.victim} killed: {self._strike(strike)}")
                kills[strike.victim] += 1
            for user in self._users:
                user.stop()
            self._say("the users have stopped")
            serves_again = self._comes_to_rest()
            promises = merged([user.close() for user in self._users])
        finally:
            if logs is not None:
                self._stand.cluster.copy_logs(logs)
            self._stand.stop()
        self._say("everything is killed; what is stored is looked at")
        with StoredObjects(self._place.settings, TENANT) as objects:
            versions = read_versions(self._place.history(objects, TENANT), TENANT)
            settings = load_settings(environ=self._stand.cluster.environment).jobs
            case = Case(objects, versions, promises, settings, TENANT)
            return Report(
                kills=kills,
                jobs=Counter(job.state for job in case.jobs.values()),
                failures=Counter(job.error.code for job in case.ended(JobState.FAILED) if job.error),
                stray_markers=case.stray_markers,
                doings=sum((user.doings for user in self._users), Counter()),
                unanswered=sum((user.unanswered for user in self._users), Counter()),
                users_lost=[f"{user.name}: {user.failure!r}" for user in self._users if user.failure],
                serves_again=serves_again,
                findings=audit(case),
            )

    def _start_users(self) -> None:
        """Each chain is begun by one user, and others join."""
        self._began_s = time.monotonic()
        chain_id: str | None = None
        for number, user in enumerate(self._users):
            user.start(chain_id if number % USERS_PER_CHAIN else None)
            chain_id = user.page.chain_id

    def _strike(self, strike: Strike) -> str:
        """As soon as there is anybody of the kind."""
        deadline_s = time.monotonic() + BACK_TIMEOUT_S
        while True:
            try:
                return self._stand.strike(strike.victim, strike.choice)
            except NobodyToKill:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.1)

    def _comes_to_rest(self) -> bool:
        """Everything is back, every job ends, and every page catches up; what does not shows in the findings."""
        try:
            self._stand.wait_until_whole()
            self._say("the cluster is whole")
            wait_until(self._no_job_is_active, REST_TIMEOUT_S, "no job is active")
            self._say("every job has ended")
            wait_until(self._pages_are_up_to_date, REST_TIMEOUT_S, "every page is up to date")
        except TimeoutError as error:
            self._say(f"{error}")
            return False
        return True

    def _no_job_is_active(self) -> bool:
        time.sleep(LOOK_S)
        with StoredObjects(self._place.settings, TENANT) as objects:
            return not list(check_markers(objects, TENANT))

    def _pages_are_up_to_date(self) -> bool:
        time.sleep(LOOK_S)
        pages = [page for user in self._users for page in user.pages]
        answers = {
            chain_id: httpx.get(f"{self._stand.server.url}/v1/chains/{chain_id}", timeout=30).json()
            for chain_id in {page.chain_id for page in pages}
        }
        return all(page.version == answers[page.chain_id]["version"] for page in pages)

    def _say(self, what: str) -> None:
        self._tell(f"{time.monotonic() - self._began_s:7.1f} s  {what}")
