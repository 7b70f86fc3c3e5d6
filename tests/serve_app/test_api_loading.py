"""What the API says while a model loads, or cannot be loaded."""

from __future__ import annotations

import pytest

from deployments.engines.common.errors import EngineError, ModelLoading, ModelUnavailable
from serve_app.http.errors import as_problem


@pytest.mark.parametrize(
    ("error", "code", "detail"),
    [
        (
            ModelLoading("the model is being loaded, 3 of 9 MB"),
            "model-loading",
            "The model is being loaded, 3 of 9 MB.",
        ),
        (
            ModelUnavailable("the model cannot be loaded: the disk is full"),
            "model-unavailable",
            "The model cannot be loaded: the disk is full.",
        ),
    ],
)
def test_a_request_for_it_is_503_with_the_reason(error: EngineError, code: str, detail: str) -> None:
    problem = as_problem(error)
    assert problem is not None
    assert (problem.status, problem.detail) == (503, detail)
    assert problem.type.endswith(code)
    assert int(problem.headers["Retry-After"]) > 0
