"""The workers of the queue as Serve runs them: killed, and as many as the queue wants."""

import httpx
import pytest
import yaml

from tests.fixtures import documents
from tests.serve.api import eventually, finished, upload
from tests.serve.conftest import RunningStack

# The stack is started with HAProxy first; once is enough for what takes a minute each.
FIRST = "haproxy"
CONFIG = "configs/serve.laptop.yaml"
JOBS = "little-monster-jobs"
UNFINISHED, FULL = ("queued", "running"), 4


@pytest.fixture(autouse=True)
def once(stack: RunningStack) -> None:
    if stack.data_path != FIRST:
        pytest.skip("workers do not see which way HTTP enters")


def test_a_killed_worker_loses_no_job(stack: RunningStack, client: httpx.Client) -> None:
    """Serve starts another one, and the entry of the first goes to it when its beats have stopped."""
    (worker,) = stack.replica("jobs", JOBS)
    answer = upload(client, "long.pdf", documents.pdf(repeat=2_000))
    assert answer.status_code == 202, answer.text
    job_url = answer.headers["Location"]
    assert eventually(lambda: client.get(job_url).json()["status"] == "running", 30)
    worker.kill()
    job = finished(client, job_url)
    assert (job["status"], job["attempts"]) == ("completed", 2), job
    assert worker.pid not in {process.pid for process in stack.replica("jobs", JOBS)}


def test_workers_grow_and_shrink_with_the_queue(stack: RunningStack, client: httpx.Client, tmp_path) -> None:
    config = yaml.safe_load(open(CONFIG).read())  # noqa: PTH123, SIM115
    scaling = config["applications"][1]["deployments"][0]["autoscaling_config"]
    scaling.update(upscale_delay_s=0, downscale_delay_s=1, look_back_period_s=11)
    scaling["policy"]["policy_kwargs"]["jobs_per_replica"] = 1
    changed = tmp_path / "serve.yaml"
    changed.write_text(yaml.safe_dump(config))
    assert stack.cli("deploy", str(changed)).returncode == 0
    job_urls: list[str] = []

    def two_work() -> bool:
        """Keep the queue full meanwhile: how full it is, Serve learns every ten seconds only."""
        while sum(client.get(url).json()["status"] in UNFINISHED for url in job_urls[-FULL:]) < FULL:
            answer = upload(client, f"{len(job_urls)}.pdf", documents.pdf(repeat=500 + len(job_urls)))
            job_urls.append(answer.headers["Location"])
        return len(stack.replica("jobs", JOBS)) == 2

    try:
        assert eventually(two_work, 180), "no second worker came"
        jobs = [finished(client, url) for url in job_urls]
        assert {job["status"] for job in jobs} == {"completed"}
        assert eventually(lambda: len(stack.replica("jobs", JOBS)) == 1, 120), "the second worker stayed"
    finally:
        assert stack.cli("deploy", CONFIG).returncode == 0
