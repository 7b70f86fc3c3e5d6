"""A process of its own that asks Serve how many replicas a deployment has: the status that `serve status` shows,
without Segue's own way to it in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import ray

from benchmarks.kit.child import answer_questions
from serve_app.system.cluster import serve_details


def main() -> None:
    ray.init(namespace="serve", log_to_driver=False, logging_level="ERROR")
    asyncio.run(answer_questions(answer))


async def answer(question: dict[str, Any]) -> dict[str, Any]:
    """The replicas that Serve wants now, and those that are there by their state."""
    details = await asyncio.to_thread(serve_details)
    deployment = details.applications["segue"].deployments[question["deployment"]]
    return {
        "target": deployment.target_num_replicas,
        "states": Counter(replica.state.value for replica in deployment.replicas),
    }


if __name__ == "__main__":
    main()
