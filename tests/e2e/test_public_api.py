"""A public API used from an office: over HTTPS, through a proxy that reaches all its hosts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from omniedit.sandbox.clips import BUNDLED_CLIP
from tests.commandline import CommandLine
from tests.e2e.test_hostile import KEY, TASKS, Endpoint, Service
from tests.unit.http.hostile import HostileServer, whole

pytestmark = pytest.mark.e2e

CLIP_URL: Final = "https://clips.example/clip.mp4"
INTERNAL_URLS: Final = (
    "http://127.0.0.1/results/a.mp4",
    "https://localhost/results/a.mp4",
    "http://2130706433/results/a.mp4",
    "http://169.254.169.254/latest/meta-data",
    "https://[::ffff:10.0.0.1]/results/a.mp4",
)
# For api.example and the other test hosts, valid until 2119; used only by these tests.
CERTIFICATE: Final = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgB46JvEQxZ2cremR4
JuP8kxz8czePVH2yVLSUaScgwPChRANCAAQtzKggH038DrrxY0sy7ZBzMuc+JSPg
eyXv8GgRcKrJryj8mR5FeYT0V50h30PeCCazmLSpDQqSg5c4KkPdkR5Q
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIB5jCCAYygAwIBAgIUE8tgmhtcLgCHouYqbU/XJ57FSukwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOb21uaWVkaXQgdGVzdHMwIBcNMjAwMTAxMDAwMDAxWhgPMjEx
OTEyMDgwMDAwMDFaMBkxFzAVBgNVBAMMDm9tbmllZGl0IHRlc3RzMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAELcyoIB9N/A668WNLMu2QczLnPiUj4Hsl7/BoEXCq
ya8o/JkeRXmE9FedId9D3ggms5i0qQ0KkoOXOCpD3ZEeUKOBrzCBrDAdBgNVHQ4E
FgQUOzI+mWtapZA3M9Li+6lEMoZ/9P0wHwYDVR0jBBgwFoAUOzI+mWtapZA3M9Li
+6lEMoZ/9P0wDwYDVR0TAQH/BAUwAwEB/zA0BgNVHREELTArggthcGkuZXhhbXBs
ZYINZmlsZXMuZXhhbXBsZYINY2xpcHMuZXhhbXBsZTATBgNVHSUEDDAKBggrBgEF
BQcDATAOBgNVHQ8BAf8EBAMCAoQwCgYIKoZIzj0EAwIDSAAwRQIgEO/BD+ZNk48U
VExpM+rb5Q5ZkM9gMU5/HAMlnPJETCICIQCZBY2XxKOySjcYxi+kKC+pO2bubn8T
z60ZjHuzQTLPrg==
-----END CERTIFICATE-----
"""


class Office:
    """A public service behind a proxy, and the command line of its user."""

    def __init__(self, service: Service, proxy: HostileServer, command: CommandLine) -> None:
        self.service = service
        self.proxy = proxy
        self.command = command

    def set_result_link(self, url: str) -> None:
        """Set the result link of every task."""
        done = self.service.task(TASKS[0]) | {"results": [url]}
        self.service.attacks[Endpoint.POLL] = whole(json.dumps(done).encode())

    @property
    def internal_requests(self) -> list[bytes]:
        """The requests and tunnels to hosts other than the service's own."""
        return [head for head in self.proxy.heads if b".example" not in head.split(b"\r\n")[0]]


@pytest.fixture
def office(folder: Path, home: Path) -> Iterator[Office]:
    (folder / "clip.mp4").write_bytes(BUNDLED_CLIP.read_bytes())
    certificate = home / "certificate.pem"
    certificate.write_text(CERTIFICATE)
    service = Service()
    service.url = "https://files.example"
    with HostileServer(service, tunnels_to=certificate) as proxy:
        environ = {
            "OMNIEDIT_BASE_URL": "https://api.example",
            "OMNIEDIT_FILES_URL": "https://files.example",
            "EVOLINK_API_KEY": KEY,
            "HTTP_PROXY": proxy.url,
            "HTTPS_PROXY": proxy.url,
            "SSL_CERT_FILE": str(certificate),
        }
        yield Office(service, proxy, CommandLine(folder, environ))


def test_an_edit_contacts_the_public_hosts_and_hides_the_key_from_proxies(office: Office) -> None:
    ended = office.command("edit", "clip.mp4", "x", "-o", "out.mp4")

    assert ended.status == 0, ended
    assert (office.command.folder / "out.mp4").read_bytes() == BUNDLED_CLIP.read_bytes()
    tunnels = {head for head in office.proxy.heads if head.startswith(b"CONNECT")}
    assert {head.split()[1] for head in tunnels} == {b"api.example:443", b"files.example:443"}
    assert not any(KEY.encode() in head for head in tunnels)
    results = [head for endpoint, head in office.service.received if endpoint is Endpoint.RESULT]
    assert results
    assert not any(KEY.encode() in head for head in results)


@pytest.mark.parametrize("url", INTERNAL_URLS)
def test_a_result_at_an_internal_address_is_not_fetched(office: Office, url: str) -> None:
    office.set_result_link(url)

    ended = office.command("edit", CLIP_URL, "x", "-o", "out.mp4", "--json")

    assert ended.status == 7, ended
    assert ended.document["error"]["code"] == "internal_address"
    assert office.internal_requests == []


@pytest.mark.parametrize("url", INTERNAL_URLS)
def test_a_clip_at_an_internal_address_is_not_read(office: Office, url: str) -> None:
    ended = [
        office.command("probe", url),
        office.command("submit", url, "x", "--check"),
        office.command("edit", url, "x", "--end", "1"),
    ]

    assert [each.status for each in ended] == [2, 2, 2], ended
    assert office.proxy.heads == []
