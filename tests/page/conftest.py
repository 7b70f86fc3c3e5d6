from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.page.served import Served, serving
from tests.page.studio import Studio, studio


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with serving(tmp_path_factory.mktemp("keys")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def page(served: Served) -> AsyncIterator[Studio]:
    async with studio(served.browser, served.url) as shown:
        yield shown
