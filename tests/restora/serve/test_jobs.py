"""Facts about jobs: inside roots only, journaled like the command, continued after a restart."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes import NearestSession
from restora import RunOptions, read_photo, restore_folder
from restora.errors import DeviceLostError, ForbiddenError, OptionError, RequestError
from restora.serve import Service
from restora.serve.jobs import Job, Jobs, parse_job
from restora.serve.jobs.roots import Roots
from restora.serve.jobs.store import JobStore
from serve_rig import (
    WAIT_S,
    GateSession,
    picture,
    problem_in,
    restorer_on,
    service_on,
    serving,
    tokens_file,
    until,
)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A server's disk: photos/in with three photos and one that is broken, state."""
    folder = tmp_path / "photos" / "in"
    folder.mkdir(parents=True)
    for name in ("a", "b", "c"):
        (folder / f"{name}.png").write_bytes(picture())
    (folder / "d.png").write_bytes(picture()[:50])
    return tmp_path


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server with a root that nothing is done in."""
    folder = tmp_path_factory.mktemp("idle")
    (folder / "photos").mkdir()
    with serving(job_service(folder)) as client:
        yield client


def job_service(disk: Path, session: Any = None, **options: Any) -> Service:
    roots = {"photos": disk / "photos"}
    session = session or NearestSession()
    return service_on(session, roots=roots, state=disk / "state", **options)


def post(client: httpx.Client, **changes: Any) -> httpx.Response:
    job = {"kind": "folder", "input": "photos/in", "output": "photos/out", **changes}
    return client.post("/v1/jobs", json=job)


def finished(client: httpx.Client, href: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def ended() -> bool:
        found.update(client.get(href).json())
        return found["state"] in ("done", "failed", "canceled")

    until(ended)
    return found


def test_a_folder_is_restored_and_every_file_has_a_result(disk: Path) -> None:
    with serving(job_service(disk)) as client:
        answer = post(client, parameters={"suffix": "new", "outscale": 1})
        assert answer.status_code == 201
        href = answer.headers["location"]
        job = finished(client, href)
        assert job["state"] == "done"
        assert job["progress"] == {
            "done": 3, "failed": 1, "skipped": 0, "total": 4, "fraction": 1.0,
        }  # fmt: skip
        rows = client.get(f"{href}/results").json()["results"]
        assert sorted(row["status"] for row in rows) == [
            "failed",
            "restored",
            "restored",
            "restored",
        ]
        assert str(disk) not in json.dumps(rows)
        row = next(row for row in rows if row["input"] == "photos/in/a.png")
        assert row["output"] == "photos/out/a_new.png"
        result = client.get(row["href"])
        assert result.headers["content-type"] == "image/png"
        assert read_photo(result.content).width == 24
        broken = next(row for row in rows if row["status"] == "failed")
        assert "href" not in broken
        answer = client.get(f"{href}/files/{broken['number']}")
        assert problem_in(answer)["code"] == "not-found"
        for number in ("x", "-1", "²", "9" * 5000):  # which int() refuses
            answer = client.get(f"{href}/files/{number}")
            assert problem_in(answer)["code"] == "not-found"
        assert [one["id"] for one in client.get("/v1/jobs").json()["jobs"]] == [job["id"]]
        assert client.delete(href).status_code == 204
        assert problem_in(client.get(href))["code"] == "not-found"


def test_results_come_in_pages(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restora.serve.routes_jobs.MOST_ROWS", 3)
    with serving(job_service(disk)) as client:
        href = post(client).headers["location"]
        finished(client, href)

        def pages(address: str) -> list[list[int]]:
            found = []
            while address:
                page = client.get(address).json()
                found.append([row["number"] for row in page["results"]])
                address = page.get("next", "")
            return found

        assert pages(f"{href}/results") == [[0, 1, 2], [3]]
        assert pages(f"{href}/results?limit=2") == [[0, 1], [2, 3]]
        assert pages(f"{href}/results?from=1&limit=2") == [[1, 2], [3]]
        assert pages(f"{href}/results?from=4") == [[]]
        for query in ("from=-1", "limit=0", "limit=4", "from=x", "page=2"):
            problem = problem_in(client.get(f"{href}/results?{query}"))
            assert problem["code"] == "request"
            assert query.partition("=")[0] in problem["detail"]


def test_a_file_of_a_job_is_sent_in_parts_to_who_asks_for_them(disk: Path) -> None:
    with serving(job_service(disk)) as client:
        href = post(client).headers["location"]
        finished(client, href)
        rows = client.get(f"{href}/results").json()["results"]
        address = next(row["href"] for row in rows if "href" in row)
        whole = client.get(address).content
        part = client.get(address, headers={"Range": "bytes=10-29"})
        assert (part.status_code, part.content) == (206, whole[10:30])
        assert part.headers["content-range"] == f"bytes 10-29/{len(whole)}"
        assert client.head(address).headers["content-length"] == str(len(whole))


def test_the_journal_is_that_of_the_command(disk: Path) -> None:
    """What the command has restored is not restored again, and the other way round."""
    folder = disk / "photos"
    restore_folder(folder / "in", folder / "out", restorer_on(NearestSession()))
    with serving(job_service(disk)) as client:
        job = finished(client, post(client).headers["location"])
    assert (job["progress"]["done"], job["progress"]["skipped"]) == (0, 3)
    again = restore_folder(
        folder / "in", folder / "out", restorer_on(NearestSession()), options=RunOptions()
    )
    assert again.counts["skipped"] == 3


def read_events(client: httpx.Client, href: str, **headers: str) -> list[tuple[str, Any]]:
    return parse_events(client.get(f"{href}/events", headers=headers).text)


def parse_events(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_events_tell_results_once_and_end_with_the_job(disk: Path) -> None:
    with serving(job_service(disk)) as client:
        href = post(client).headers["location"]
        events = read_events(client, href)
        assert events[-1][0] == "state"
        assert events[-1][1]["state"] == "done"
        numbers = [data["number"] for name, data in events if name == "result"]
        assert numbers == [0, 1, 2, 3]
        last = [d for name, d in events if name == "progress"][-1]
        assert last["fraction"] == 1
        later = read_events(client, href, **{"Last-Event-ID": "0-2"})
        assert [data["number"] for name, data in later if name == "result"] == [3]


def test_a_client_that_comes_back_to_the_next_server_misses_no_result(disk: Path) -> None:
    """The results of a job that is continued have new numbers."""
    session = SecondTileWaits()
    add_photos(disk)
    service = job_service(disk, session)
    with serving(service) as client, ThreadPoolExecutor(1) as threads:
        href = post(client).headers["location"]
        events = threads.submit(client.get, f"{href}/events")
        until(lambda: client.get(href).json()["progress"]["done"] == 1)
        service.begin_drain()
        session.open()
        text = events.result().text
        seen = {data["input"] for name, data in parse_events(text) if name == "result"}
    last = re.findall(r"^id: (\S+)$", text, re.M)[-1]
    with serving(job_service(disk)) as client:
        assert finished(client, href)["resumed"] == 1
        later = read_events(client, href, **{"Last-Event-ID": last})
    assert 0 < len(seen) < 20
    assert [data["number"] for name, data in later if name == "result"] == list(range(20))


def test_events_of_a_job_that_waits_to_be_continued_are_those_of_its_next_run(disk: Path) -> None:
    session = SecondTileWaits()
    add_photos(disk)
    service = job_service(disk, session)
    with serving(service) as client:
        hrefs = [post(client, output=f"photos/{name}").headers["location"] for name in "xy"]
        until(lambda: client.get(hrefs[0]).json()["progress"]["done"] == 1)
        service.jobs.pause()
        session.open()
    records = disk / "state" / "jobs"
    rows = records / f"{hrefs[0].rpartition('/')[2]}.results.jsonl"
    other = records / f"{hrefs[1].rpartition('/')[2]}.results.jsonl"
    other.write_bytes(rows.read_bytes()[:-1] + b" " * 9 + b"\n")
    gate = GateSession()
    lines: list[str] = []

    def follow(client: httpx.Client) -> None:
        with client.stream("GET", f"{hrefs[1]}/events") as answer:
            for line in answer.iter_lines():
                lines.append(line)  # noqa: PERF402  others read it meanwhile

    with serving(job_service(disk, gate)) as client, ThreadPoolExecutor(1) as threads:
        following = threads.submit(follow, client)
        until(lambda: "event: progress" in lines)
        assert client.get(f"{hrefs[1]}/results").json() == {"results": []}
        gate.open()
        following.result(WAIT_S)
        events = parse_events("\n".join(lines))
    assert [data["number"] for name, data in events if name == "result"] == list(range(20))


def test_only_the_latest_jobs_that_have_ended_are_kept(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restora.serve.jobs.jobs.MOST_ENDED", 2)
    with serving(job_service(disk)) as client:
        hrefs = []
        for _ in range(4):
            hrefs.append(post(client, input="photos/absent").headers["location"])
            finished(client, hrefs[-1])
        last = [one["id"] for one in client.get("/v1/jobs").json()["jobs"]]
        assert [f"/v1/jobs/{id_}" for id_ in last] == hrefs[1:]
        assert len(list((disk / "state" / "jobs").glob("*.json"))) == 3


def test_a_job_that_is_forgotten_while_its_end_is_recorded_stays_forgotten(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saving, answered, save = threading.Event(), threading.Event(), JobStore.save

    def slow_save(store: JobStore, job: Job) -> None:
        if job.has_ended:
            saving.set()
            answered.wait(0.3)  # or as long as the answer waits for this
        save(store, job)

    monkeypatch.setattr(JobStore, "save", slow_save)
    with serving(job_service(disk)) as client:
        href = post(client, input="photos/absent").headers["location"]
        assert saving.wait(WAIT_S)
        assert client.delete(href).status_code == 204
        answered.set()
    assert list((disk / "state" / "jobs").glob("*.json")) == []


def test_a_lost_gpu_leaves_all_jobs_to_the_next_process(disk: Path) -> None:
    session = GateSession(is_open=True)
    session.error = DeviceLostError("gone")
    with serving(job_service(disk, session)) as client:
        hrefs = [post(client, output=f"photos/{name}").headers["location"] for name in "xyz"]
        until(lambda: client.get("/health/live").status_code == 503)
        until(lambda: {client.get(href).json()["state"] for href in hrefs} == {"queued"})
    with serving(job_service(disk)) as client:
        assert [finished(client, href)["state"] for href in hrefs] == ["done"] * 3


def test_a_job_that_loses_the_gpu_again_and_again_fails(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restora.serve.jobs.jobs.MOST_RESUMED", 1)
    add_photos(disk)
    session = GateSession(is_open=True)
    session.error = DeviceLostError("gone")
    with serving(job_service(disk, session)) as client:
        href = post(client).headers["location"]
        until(lambda: client.get("/health/live").status_code == 503)
    with serving(job_service(disk, session)) as client:
        job = finished(client, href)
    assert (job["state"], job["problem"]["code"]) == ("failed", "device-lost")


def record_running(disk: Path, fraction: float) -> Path:
    """The record of a job that ran when its server was killed."""
    (path,) = (disk / "state" / "jobs").glob("*.json")
    record = {**json.loads(path.read_text()), "state": "running", "fraction": fraction}
    path.write_text(json.dumps(record))
    return path


def test_a_job_that_ends_its_server_again_and_again_is_not_continued(disk: Path) -> None:
    session = GateSession(is_open=True)
    session.error = DeviceLostError("gone")  # the job waits for the next server
    with serving(job_service(disk, session)) as client:
        href = post(client).headers["location"]
        until(lambda: client.get("/health/live").status_code == 503)
    for fraction in (0.1, 0.3, 0.3, 0.3):
        record_running(disk, fraction)
        jobs = service_jobs(disk)
        assert [job.state for job in jobs] == ["queued"]
    record_running(disk, 0.3)
    with serving(job_service(disk)) as client:
        job = client.get(href).json()
    assert (job["state"], job["problem"]["code"]) == ("failed", "service")
    assert "ended 4 times while this job ran, each time at 30%" in job["problem"]["detail"]


def service_jobs(disk: Path) -> list[Job]:
    """The jobs of a server that starts and is killed before it runs any."""
    jobs = Jobs(job_service(disk).options, OpensNothing(), note=print)
    jobs.pause()
    jobs.start(1 << 30)
    jobs.close(WAIT_S)
    store = JobStore(disk / "state")
    try:
        return store.load()
    finally:
        store.close()


class OpensNothing:
    def variant(self, parameters: Any, *, large: bool) -> Any:
        raise AssertionError((parameters, large))


def test_the_progress_of_a_job_is_on_disk_while_it_runs(disk: Path) -> None:
    session = SecondTileWaits()
    add_photos(disk)
    with serving(job_service(disk, session)) as client:
        post(client)
        (path,) = (disk / "state" / "jobs").glob("*.json")
        until(lambda: 0 < json.loads(path.read_text())["fraction"] < 1)
        session.open()


def test_a_record_of_an_older_server_is_continued(disk: Path) -> None:
    session = GateSession(is_open=True)
    session.error = DeviceLostError("gone")
    with serving(job_service(disk, session)) as client:
        href = post(client).headers["location"]
        until(lambda: client.get("/health/live").status_code == 503)
    (path,) = (disk / "state" / "jobs").glob("*.json")
    record = json.loads(path.read_text())
    del record["killed"], record["killed_at"]
    path.write_text(json.dumps(record))
    with serving(job_service(disk)) as client:
        assert finished(client, href)["state"] == "done"


def test_a_photo_that_is_a_link_out_of_its_root_fails_its_job(disk: Path) -> None:
    (disk / "private.png").write_bytes(picture())
    (disk / "photos" / "in" / "link.png").symlink_to(disk / "private.png")
    with serving(job_service(disk)) as client:
        job = finished(client, post(client).headers["location"])
    assert (job["state"], job["problem"]["code"]) == ("failed", "forbidden")
    assert "photos/in/link.png leads out of photos" in job["problem"]["detail"]
    assert not (disk / "photos" / "out" / "link.png").exists()


def add_photos(disk: Path) -> None:
    """More than are in progress at once."""
    for number in range(16):
        (disk / "photos" / "in" / f"more{number:02}.png").write_bytes(picture())


class SecondTileWaits(GateSession):
    """Runs the first tile at once; the others wait for permits."""

    def __init__(self) -> None:
        super().__init__()
        self.permits.release()


def test_a_job_that_is_canceled_finishes_what_it_has_begun(disk: Path) -> None:
    session = SecondTileWaits()
    add_photos(disk)
    with serving(job_service(disk, session)) as client:
        href = post(client).headers["location"]
        until(lambda: client.get(href).json()["progress"]["done"] == 1)
        answer = client.delete(href)
        assert (answer.status_code, answer.json()["state"]) == (202, "running")
        session.open()
        job = finished(client, href)
        assert job["state"] == "canceled"
        assert len(list((disk / "photos" / "out").glob("*.png"))) == job["progress"]["done"] < 19


def test_jobs_run_one_after_another_and_a_waiting_one_is_canceled_at_once(disk: Path) -> None:
    session = GateSession()
    with serving(job_service(disk, session)) as client:
        first = post(client).headers["location"]
        until(lambda: client.get(first).json()["state"] == "running")
        second = post(client, output="photos/other").headers["location"]
        assert client.get(second).json()["state"] == "queued"
        assert 'restora_jobs{state="running"} 1.0' in client.get("/metrics").text
        assert client.delete(second).json()["state"] == "canceled"
        session.open()
        assert finished(client, first)["state"] == "done"
    assert not (disk / "photos" / "other").exists()


def test_the_next_server_goes_on_with_a_job_and_restores_nothing_twice(disk: Path) -> None:
    session = SecondTileWaits()
    add_photos(disk)
    service = job_service(disk, session)
    with serving(service) as client:
        href = post(client).headers["location"]
        until(lambda: client.get(href).json()["progress"]["done"] == 1)
        service.jobs.pause()
        session.open()
    done = {path.name for path in (disk / "photos" / "out").glob("*.png")}
    assert 0 < len(done) < 19
    with serving(job_service(disk)) as client:
        job = finished(client, href)
        assert (job["state"], job["resumed"]) == ("done", 1)
        assert job["progress"]["skipped"] == len(done)
        assert job["progress"]["done"] == 19 - len(done)


def test_a_second_server_on_the_same_records_does_not_start(disk: Path) -> None:
    with serving(job_service(disk)):
        service = job_service(disk)
        with serving(service, wait=False):
            until(service.opened.is_set)
            assert isinstance(service.failure, OptionError)
            assert "another server records its jobs" in str(service.failure)


def test_a_record_that_cannot_be_read_costs_only_itself(disk: Path) -> None:
    (disk / "state" / "jobs").mkdir(parents=True)
    for name, text in (("x", "{"), ("y", "[1]"), ("z", '{"request": ["folder", "a", "b", {}]}')):
        (disk / "state" / "jobs" / f"{name}.json").write_text(text)
    with serving(job_service(disk)) as client:
        assert client.get("/v1/jobs").json() == {"jobs": []}
        assert finished(client, post(client).headers["location"])["state"] == "done"


def test_jobs_belong_to_the_token_that_made_them(disk: Path) -> None:
    ann, bob = "a" * 16, "b" * 16
    tokens = tokens_file(disk, f"ann {ann}", f"bob {bob}")
    with serving(job_service(disk, tokens=tokens)) as client:
        client.headers["Authorization"] = f"Bearer {ann}"
        href = post(client).headers["location"]
        client.headers["Authorization"] = f"Bearer {bob}"
        assert problem_in(client.get(href))["code"] == "not-found"
        assert problem_in(client.delete(href))["code"] == "not-found"
        assert client.get("/v1/jobs").json() == {"jobs": []}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"kind": "disk"}, "option"),
        ({"input": "photos/../../etc"}, "option"),
        ({"input": "/etc"}, "option"),
        ({"input": "photos/./in"}, "option"),
        ({"input": "other/in"}, "forbidden"),
        ({"output": "photos/out\x00"}, "option"),
        ({"output": 3}, "request"),
        ({"parameters": []}, "request"),
        ({"parameters": {"quality": 0}}, "option"),
        ({"parameters": {"tile": 64}}, "option"),
        ({"parameters": {"suffix": "a/b"}}, "option"),
        ({"parameters": {"overwrite": "perhaps"}}, "option"),
        ({"parameters": {"model": "absent"}}, "unknown-model"),
        ({"parameters": {"faces": True}}, "missing-model"),
        ({"kind": "video", "parameters": {"quality": 80}}, "option"),
        ({"more": 1}, "request"),
    ],
)
def test_a_job_that_cannot_work_is_refused(
    idle: httpx.Client, changes: dict[str, Any], code: str
) -> None:
    assert problem_in(post(idle, **changes))["code"] == code
    assert idle.get("/v1/jobs").json() == {"jobs": []}


def test_a_job_whose_input_is_not_there_fails_with_a_problem(disk: Path) -> None:
    with serving(job_service(disk)) as client:
        job = finished(client, post(client, input="photos/absent").headers["location"])
        assert job["state"] == "failed"
        assert job["problem"]["code"] == "option"
        assert str(disk) not in job["problem"]["detail"]


def test_a_job_must_be_sent_as_json(idle: httpx.Client) -> None:
    """Browsers ask before they send JSON for a page of another site."""
    answer = idle.post("/v1/jobs", content=b"{}", headers={"Content-Type": "text/plain"})
    assert problem_in(answer)["code"] == "unsupported-media-type"
    headers = {"Content-Type": "application/json"}
    answer = idle.post("/v1/jobs", content=b"{" * 70_000, headers=headers)
    assert problem_in(answer)["code"] == "request"


def test_without_roots_there_are_no_jobs() -> None:
    with serving(service_on(NearestSession())) as client:
        for answer in (post(client), client.get("/v1/jobs"), client.get("/v1/jobs/x")):
            assert problem_in(answer)["code"] == "not-found"


def test_a_link_does_not_lead_out_of_a_root(tmp_path: Path) -> None:
    (tmp_path / "root" / "in").mkdir(parents=True)
    (tmp_path / "root" / "out").symlink_to(tmp_path)
    (tmp_path / "root" / "loop").symlink_to("loop")
    roots = Roots({"r": tmp_path / "root"})
    assert roots.resolve("r/in/new/") == tmp_path / "root" / "in" / "new"
    assert roots.resolve("r") == tmp_path / "root"
    for name in ("r/out", "r/out/other", "r/out/root/../.."):
        with pytest.raises((ForbiddenError, OptionError)):
            roots.resolve(name)
    assert roots.name_of(str(tmp_path / "root" / "in" / "a.png")) == "r/in/a.png"
    assert roots.name_of("/etc/passwd") == "passwd"


def test_a_job_names_its_members() -> None:
    with pytest.raises(RequestError, match="a job needs output, as text"):
        parse_job({"kind": "folder", "input": "a/b"})


def test_a_video_is_restored(disk: Path) -> None:
    pytest.importorskip("av")
    from video_clips import Clip, make_clip

    make_clip(disk / "photos" / "clip.mp4", Clip(frames=4))
    with serving(job_service(disk)) as client:
        answer = post(client, kind="video", input="photos/clip.mp4", output="photos/clip-new.mkv")
        job = finished(client, answer.headers["location"])
        assert job["state"] == "done", job["problem"]
        assert job["progress"]["done"] == job["progress"]["total"] == 4
        (row,) = client.get(f"/v1/jobs/{job['id']}/results").json()["results"]
        assert row["output"] == "photos/clip-new.mkv"
        assert len(client.get(row["href"]).content) > 100


def test_a_server_does_not_wait_for_a_photo_longer_than_its_timeout(disk: Path) -> None:
    session = GateSession()
    service = job_service(disk, session, drain_timeout_s=0.2)
    try:
        with serving(service) as client:
            href = post(client).headers["location"]
            until(lambda: client.get(href).json()["state"] == "running")
            session.entered.acquire()
        assert not service.ended
    finally:
        session.open()
    assert service.jobs.close(WAIT_S)
    with serving(job_service(disk)) as client:
        job = finished(client, href)
        assert (job["state"], job["resumed"]) == ("done", 1)
