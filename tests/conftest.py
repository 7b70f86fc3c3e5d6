from __future__ import annotations

import pytest
from hypothesis import settings

# How long an example takes says something about the machine, not about the code.
settings.register_profile("segue", deadline=None)
settings.load_profile("segue")


# Before xdist looks at the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For two workers: a file stays with one of them, for its fixtures. Servers are started by one worker alone,
    and first: no two clusters are in each other's way, and the longest piece of work is not the last."""
    items.sort(key=lambda item: item.get_closest_marker("serve") is None)
    for item in items:
        is_served = item.get_closest_marker("serve") is not None
        item.add_marker(pytest.mark.xdist_group("serve" if is_served else item.path.as_posix()))
