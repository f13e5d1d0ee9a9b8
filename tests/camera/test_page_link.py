"""What `--lan` needs: a certificate in a private folder, the link, its QR code."""

import ssl
import stat
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from urllib.parse import urlsplit

import httpx
import pytest

from awares_edge.camera.web import certificate as module
from awares_edge.camera.web.certificate import DAYS, certificate_for
from awares_edge.camera.web.link import link_of, local_addresses, qr_text
from awares_edge.errors import InputError
from tests.camera.page_support import TOKEN, page_served

x509 = pytest.importorskip("cryptography.x509", reason="pip install cryptography")
NAMES = ["127.0.0.1", "localhost", "192.168.1.5", "fd00::5"]


def read(certificate):
    return x509.load_pem_x509_certificate(certificate.file.read_bytes())


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_key_can_be_read_by_this_user_only(tmp_path):
    folder = tmp_path / "tls"
    folder.mkdir(mode=0o755)
    made = certificate_for(NAMES, folder)
    assert (mode(folder), mode(made.key)) == (0o700, 0o600)
    assert {path.name for path in folder.iterdir()} == {"page.crt", "page.key", "page.json"}


def test_it_is_what_browsers_want_of_a_self_signed_one(tmp_path):
    made = read(certificate_for(NAMES, tmp_path))
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert {str(ip) for ip in names.get_values_for_type(x509.IPAddress)} == {*NAMES} - {"localhost"}
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert x509.oid.ExtendedKeyUsageOID.SERVER_AUTH in usage
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    lasts = made.not_valid_after_utc - made.not_valid_before_utc
    assert timedelta(days=DAYS) <= lasts < timedelta(days=825)
    der = ssl.PEM_cert_to_DER_cert((tmp_path / "page.crt").read_text("ascii"))
    digest = sha256(der).hexdigest().upper()
    assert certificate_for(NAMES, tmp_path).fingerprint.replace(":", "") == digest


def test_it_is_used_again(tmp_path):
    first = certificate_for(NAMES, tmp_path)
    assert certificate_for(reversed(NAMES), tmp_path) == first


def test_other_names_make_another(tmp_path):
    first = certificate_for(NAMES, tmp_path)
    assert certificate_for([*NAMES, "edge.local"], tmp_path).fingerprint != first.fingerprint


@pytest.mark.parametrize("days", [DAYS - 6, DAYS + 1])
def test_one_that_ends_soon_is_made_anew(tmp_path, monkeypatch, days):
    first = certificate_for(NAMES, tmp_path)

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=days)

    monkeypatch.setattr(module, "datetime", Later)
    second = certificate_for(NAMES, tmp_path)
    assert second.fingerprint != first.fingerprint
    assert read(second).not_valid_after_utc > datetime.now(timezone.utc) + timedelta(days=days)


@pytest.mark.parametrize("name", ["page.crt", "page.key", "page.json"])
@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff\xfe", None])
def test_a_damaged_or_missing_file_is_mended(tmp_path, name, damage):
    certificate_for(NAMES, tmp_path)
    (tmp_path / name).unlink() if damage is None else (tmp_path / name).write_bytes(damage)
    made = certificate_for(NAMES, tmp_path)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.file, made.key)


def test_a_key_of_another_certificate_is_not_used(tmp_path):
    certificate_for(NAMES, tmp_path / "a")
    other = certificate_for(NAMES, tmp_path / "b")
    (tmp_path / "a" / "page.key").write_bytes(other.key.read_bytes())
    made = certificate_for(NAMES, tmp_path / "a")
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.file, made.key)


def test_a_folder_that_cannot_be_private_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("file", "link"):
        with pytest.raises(InputError) as refusal:
            certificate_for(NAMES, tmp_path / name)
        assert "\n" not in str(refusal.value)


def test_https_is_what_the_certificate_says(tmp_path):
    made = certificate_for(NAMES, tmp_path)
    with page_served(certificate=made, token=TOKEN) as page:
        trust = ssl.create_default_context(cafile=str(made.file))
        with httpx.Client(base_url=page.url, verify=trust, trust_env=False) as browser:
            assert browser.get("/").status_code == 200
            response = browser.post("/api/login", json={"token": TOKEN})
            assert "secure" in response.headers["set-cookie"].lower()
            own = {"Origin": page.url}
            assert browser.post("/api/cancel", json={}, headers=own).status_code == 200
            plain = {"Origin": page.url.replace("https", "http")}
            assert browser.post("/api/cancel", json={}, headers=plain).status_code == 403


def test_the_token_is_where_no_server_sees_it():
    link = link_of("192.168.1.5", 8443, secure=True, token="a+b/c" * 4)
    assert link.startswith("https://192.168.1.5:8443/#token=")
    assert urlsplit(link).query == ""
    assert link_of("fd00::5", 80, secure=False, token=None) == "http://[fd00::5]:80/"


def test_addresses_are_those_that_others_reach():
    addresses = local_addresses()
    assert len(addresses) == len(set(addresses))
    assert not [
        a for a in addresses if a.startswith(("127.", "::1", "fe80", "169.254.", "0.0.0.0"))
    ]


def test_the_qr_code_holds_the_link(tmp_path):
    cv2 = pytest.importorskip("cv2", reason="pip install opencv-python-headless")
    numpy = pytest.importorskip("numpy")
    link = link_of("192.168.1.5", 8443, secure=True, token=TOKEN)
    halves = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}
    lines = [line for line in qr_text(link).split("\n") if line]
    rows = [[halves[c][half] for c in line] for line in lines for half in (0, 1)]
    # On a dark terminal drawn characters are light.
    cells = numpy.array(rows, numpy.uint8) * 255
    picture = numpy.pad(cells, 4, constant_values=255).repeat(8, 0).repeat(8, 1)
    read, _, _ = cv2.QRCodeDetector().detectAndDecode(picture)
    assert read == link
