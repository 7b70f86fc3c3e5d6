from __future__ import annotations

from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, ServeStatus

from serve_app.launch.served_here import reports


def status(state: ApplicationStatus, message: str = "") -> ServeStatus:
    overview = ApplicationStatusOverview(
        status=state, message=message, last_deployed_time_s=0.0, deployments={}
    )
    return ServeStatus(applications={"segue": overview})


def test_a_state_is_reported_once_and_a_recovery_too() -> None:
    known: dict[str, str] = {}
    assert list(reports(ServeStatus(), known)) == []
    assert list(reports(status(ApplicationStatus.DEPLOYING), known)) == ["Loading the models ..."]
    assert list(reports(status(ApplicationStatus.DEPLOYING), known)) == []
    assert list(reports(status(ApplicationStatus.RUNNING), known)) == []
    assert list(reports(status(ApplicationStatus.UNHEALTHY, "no answer"), known)) == [
        "Segue is not healthy: no answer"
    ]
    assert list(reports(status(ApplicationStatus.RUNNING), known)) == ["Segue is healthy again."]


def test_a_failure_is_one_line_without_the_traceback() -> None:
    message = (
        "Deploying 'segue' failed:\nTraceback (most recent call last):\n  File x\nValueError: MODEL no\n"
    )
    assert list(reports(status(ApplicationStatus.DEPLOY_FAILED, message), {})) == [
        "failed: ValueError: MODEL no"
    ]
