"""Facts about access: tokens, names of the server, pages of other sites, rates, headers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fakes import NearestSession
from restora.serve import Service
from serve_rig import picture, problem_in, service_on, serving, tokens_file

ANN, BOB = "a" * 16, "b" * 16


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    file = tokens_file(tmp_path_factory.mktemp("tokens"), f"ann {ANN}", f"bob {BOB} 1/h")
    return service_on(NearestSession(), tokens=file, cors=("https://friend.example",))


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with serving(service) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/results/x", "/v1/progress/x", "/v1/jobs", "/metrics",
             "/openapi.json", "/v1/nothing", "/etc/passwd", "/v2/health/ready"],
)  # fmt: skip
def test_everything_but_health_needs_a_token(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert problem_in(answer)["code"] == "unauthorized"
    assert answer.headers["www-authenticate"] == "Bearer"
    # which is all that clients of the Open Inference Protocol show
    assert ("error" in answer.json()) == path.startswith("/v2")


def test_health_needs_none(client: httpx.Client) -> None:
    for path in ("/health/live", "/health/ready", "/problems/queue-full"):
        assert client.get(path).status_code == 200


def test_with_a_token_requests_are_served(client: httpx.Client) -> None:
    assert client.post("/v1/restore", content=picture(), headers=bearer(ANN)).status_code == 200
    assert client.get("/v1/models", headers=bearer(ANN)).json()["models"][0]["name"] == "tiny"


def test_results_belong_to_the_token_that_made_them(client: httpx.Client) -> None:
    headers = {**bearer(ANN), "Accept": "application/json"}
    href = client.post("/v1/restore", content=picture(), headers=headers).json()["result"]["href"]
    assert client.get(href, headers=bearer(ANN)).status_code == 200
    assert problem_in(client.get(href, headers=bearer(BOB)))["code"] == "not-found"


def test_a_token_that_asks_too_often_waits_and_others_do_not(client: httpx.Client) -> None:
    codes = {client.get("/v1/models", headers=bearer(BOB)).status_code for _ in range(3)}
    assert 429 in codes
    answer = client.get("/v1/models", headers=bearer(BOB))
    assert problem_in(answer)["retry_after"] > 3000
    assert client.get("/v1/models", headers=bearer(ANN)).status_code == 200


def test_every_answer_has_an_id_and_headers_that_browsers_heed(client: httpx.Client) -> None:
    for path in ("/health/live", "/v1/nothing"):
        headers = client.get(path).headers
        assert len(headers["x-request-id"]) == 32
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers or "uvicorn" in headers["server"]
    odd = client.get("/health/live", headers={"X-Request-Id": "a b\tc"})
    assert len(odd.headers["x-request-id"]) == 32


def test_pages_of_other_sites_may_not_send_photos(client: httpx.Client) -> None:
    headers = {**bearer(ANN), "Origin": "https://evil.example"}
    answer = client.post("/v1/restore", content=picture(), headers=headers)
    assert problem_in(answer)["code"] == "forbidden"
    assert "access-control-allow-origin" not in answer.headers


def test_the_server_s_own_pages_and_those_it_names_may(client: httpx.Client) -> None:
    for origin in (str(client.base_url).rstrip("/"), "https://friend.example"):
        headers = {**bearer(ANN), "Origin": origin}
        answer = client.post("/v1/restore", content=picture(), headers=headers)
        assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://friend.example"
    assert "x-restora-model" in answer.headers["access-control-expose-headers"].lower()


def test_without_tokens_only_names_of_this_machine_are_answered() -> None:
    """A page of another site may have a name that leads to 127.0.0.1."""
    with serving(service_on(NearestSession(), allowed_hosts=("photos.lan",))) as client:
        assert client.get("/v1/models").status_code == 200
        for host, status in (("localhost:99", 200), ("photos.lan", 200), ("evil.example", 403)):
            assert client.get("/v1/models", headers={"Host": host}).status_code == status
        assert "access-control-allow-origin" not in client.get("/v1/models").headers


def test_a_page_that_may_use_the_service_may_read_its_problems(client: httpx.Client) -> None:
    """Otherwise it learns neither the code nor Retry-After."""
    origin = "https://friend.example"
    for path, token in (("/v1/models", "unknown"), ("/v1/restore", ANN), ("/v1/nothing", ANN)):
        answer = client.get(path, headers={"Authorization": f"Bearer {token}", "Origin": origin})
        assert problem_in(answer)["status"] in (401, 404, 405)
        assert answer.headers["access-control-allow-origin"] == origin


def test_addresses_are_answered_beside_names() -> None:
    """Probes and Prometheus ask for a pod's address; only a name can be made to lead elsewhere."""
    with serving(service_on(NearestSession(), allowed_hosts=("Photos.lan",))) as client:
        for host in ("10.1.2.3:8000", "[fd00::1]:80", "[fd00::1]", "photos.LAN:80", "LOCALHOST"):
            answer = client.get("/health/live", headers={"Host": host})
            assert answer.status_code == 200, host
        for host in ("10.1.2.3.evil.example", "evil.example:80", "999.1.1.1", ""):
            answer = client.get("/health/live", headers={"Host": host})
            assert problem_in(answer)["code"] == "forbidden", host


def test_a_path_with_a_slash_behind_it_is_not_found(client: httpx.Client) -> None:
    """A redirect would send the token to http://, also behind a proxy that speaks HTTPS."""
    for path in ("/v1/models/", "/health/live/"):
        assert problem_in(client.get(path, headers=bearer(ANN)))["code"] == "not-found"


def test_paths_in_requests_reach_no_file(client: httpx.Client, tmp_path: Path) -> None:
    for path in ("/v1/results/..%2f..%2fetc%2fpasswd", "/v1/results/%2e%2e", "/problems/../tokens"):
        assert client.get(path, headers=bearer(ANN)).status_code == 404
    assert list(tmp_path.iterdir()) == []
