"""Who may ask: loopback by its name, others with a token; no page of another site."""

import pytest

from mtn_core.errors import ConfigError
from mtn_core.serve.guard import is_loopback
from mtn_core.serve.server import choose_token

TOKEN = "a-long-enough-token-0123"


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "localhost", "[::1]:8000"])
def test_loopback_needs_no_token(make_client, host):
    assert make_client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.168.1.4:8000", "",
     "localhost.evil.example", "[::1", "127.0.0.1@evil.example", "0.0.0.0:8000"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/api/gallery", "/static/serve.js"])
def test_another_name_for_loopback_is_refused(make_client, host, path):
    """DNS rebinding: a site whose name leads here would have its own name in Host."""
    answer = make_client().get(path, headers={"Host": host})
    assert answer.status_code == 421
    assert "is not this machine's loopback" in answer.json()["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9000"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ],
)
def test_a_page_of_another_site_may_not_ask(make_client, crop_file, headers):
    data = crop_file("cam3/v1_0.png")
    assert make_client().post("/api/search", content=data, headers=headers).status_code == 403
    own = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
    assert make_client().post("/api/search", content=data, headers=own).status_code == 200


def test_a_link_to_the_page_may_be_followed(make_client):
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert make_client().get("/", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/gallery", "/static/serve.js", "/crops/" + "0" * 16])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer "},
        {"Cookie": "mtn_serve=wrong"},
        {"Cookie": "mtn_serve"},
    ],
    ids=str,
)
def test_without_the_token_nothing_is_told(make_client, path, headers):
    answer = make_client(TOKEN, "gallery.example:80").get(path, headers=headers)
    assert answer.status_code == 401
    assert list(answer.json()) == ["error"] and TOKEN not in answer.text


def test_the_printed_address_lets_a_browser_in(make_client, crop_file):
    client = make_client(TOKEN, "gallery.example")
    assert client.get("/?token=wrong").status_code == 401
    first = client.get(f"/?token={TOKEN}", follow_redirects=False)
    assert (first.status_code, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert client.get("/").status_code == 200
    assert client.post("/api/search", content=crop_file("cam3/v1_0.png")).status_code == 200
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert make_client(TOKEN, "b.example").get("/api/gallery", headers=bearer).status_code == 200


def test_every_answer_has_the_policy(make_client):
    for client, path in (
        (make_client(), "/"),
        (make_client(), "/nothing"),
        (make_client(), "/static/serve.css"),
        (make_client(TOKEN), "/"),
    ):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy and "*" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.0.1"])
def test_loopback_gets_no_token(host):
    assert is_loopback(host) and choose_token(host, None) is None
    assert choose_token(host, TOKEN) == TOKEN


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "gallery.example", ""])
def test_any_other_address_gets_one(host):
    assert not is_loopback(host)
    tokens = {choose_token(host, None) for _ in range(5)}
    assert len(tokens) == 5 and min(map(len, tokens)) >= 32


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "x" * 20 + " y", "x" * 20 + "é"])
def test_a_poor_token_is_refused(token):
    with pytest.raises(ConfigError, match="at least 16"):
        choose_token("0.0.0.0", token)
