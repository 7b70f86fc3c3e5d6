"""Keys: each tenant's apart, ids checked before they become part of one, timelines that sort by age."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import paths
from storage.stores.keys import check_folder, check_key
from storage.stores.object_store import BadKey
from tests.storage.domain.builders import START

MAKERS: list[Callable[[str, str], str]] = [
    paths.chain,
    paths.job,
    paths.export,
    paths.active,
    paths.blob,
    lambda tenant, job_id: paths.segment(tenant, job_id, 1, 0),
    lambda tenant, kind: paths.timeline_folder(tenant, kind) + "entry",
]
BAD_IDS = ["", ".", "..", "../../etc", "a/b", "a b", ".hidden", "é", "a\n", "a%2Fb", "x" * 201]
ids = st.text("abcXYZ019-_.", min_size=1, max_size=30).filter(lambda text: text[0] != ".")
moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize("maker", MAKERS)
def test_an_id_that_could_leave_its_place_is_refused(maker: Callable[[str, str], str], bad: str) -> None:
    with pytest.raises(BadKey):
        maker("tenant", bad)
    with pytest.raises(BadKey):
        maker(bad, "id")


@given(tenant=ids, other=ids, one=ids)
def test_every_key_is_lawful_and_the_tenants_own(tenant: str, other: str, one: str) -> None:
    for maker in MAKERS:
        key = maker(tenant, one)
        check_key(key)
        assert key.startswith(f"tenants/{tenant}/")
        assert (maker(other, one) == key) == (other == tenant)


def test_kinds_of_records_never_share_a_key() -> None:
    keys = [maker("t", "id") for maker in MAKERS]
    assert len(set(keys)) == len(keys)
    for key in keys:
        assert not any(other.startswith(f"{key}/") for other in keys)


def test_folders_are_folders() -> None:
    check_folder(paths.active_folder("t"))
    check_folder(paths.timeline_folder("t", "jobs"))
    assert paths.active("t", "j").startswith(paths.active_folder("t"))


@given(one=moments, other=moments, one_id=ids, other_id=ids)
def test_timeline_entries_sort_the_newest_first_and_give_back_their_id(
    one: datetime, other: datetime, one_id: str, other_id: str
) -> None:
    older, newer = sorted([one, other])
    if newer - older >= timedelta(milliseconds=2):
        assert paths.timeline_entry(newer, one_id) < paths.timeline_entry(older, other_id)
    assert paths.id_of_timeline_entry(paths.timeline_entry(one, one_id)) == one_id
    assert paths.component(paths.timeline_entry(one, one_id))


def test_a_timeline_entry_is_the_same_for_the_same_record_always() -> None:
    assert paths.timeline_entry(START, "id") == "8227633599999-id"
