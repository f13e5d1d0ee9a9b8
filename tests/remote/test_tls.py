"""TLS: a certificate that nobody vouches for is refused, one of a known authority is not."""

import ssl
import threading
from datetime import datetime, timedelta, timezone

import pytest
from PIL import Image

import awares_edge
from awares_edge import AskOptions, DeadlineExceeded, EndpointError
from tests.remote.fake import Fault, faking, streamed, wait_for

x509 = pytest.importorskip("cryptography.x509")

from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402

IMAGE = Image.new("RGB", (120, 90), "red")


def certificate(folder, name):
    """Paths of a new certificate for `name`, signed by its own key, and of the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@pytest.fixture
def secured(tmp_path):
    """Starts a server behind TLS; its URL names `localhost`, whatever its certificate does."""

    def start(*replies, name="localhost"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate(tmp_path, name))
        return faking(*replies, tls=context)

    return start


def test_a_certificate_of_its_own_is_refused(secured):
    with secured() as fake, pytest.raises(EndpointError, match="cannot be verified"):
        awares_edge.connect(fake.url, protocol="paper", key="secret-key")
    assert fake.keys == []


def test_one_of_an_authority_that_is_known_is_not(secured, tmp_path, monkeypatch):
    with secured("GET_CROPS: ['3']", "red") as fake:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "localhost.pem"))
        with awares_edge.connect(fake.url, protocol="paper") as model:
            assert model.ask(Image.new("RGB", (448, 448)), "What?").text == "red"
    assert fake.connections == 1


def test_for_another_name_it_is(secured, tmp_path, monkeypatch):
    with secured(name="elsewhere.test") as fake:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "elsewhere.test.pem"))
        with pytest.raises(EndpointError, match="cannot be verified"):
            awares_edge.connect(fake.url, protocol="paper")


@pytest.mark.parametrize("fault", [
    Fault(hang=True), Fault(body=streamed("re", done=False), declared=9999, stall=True),
], ids=["before the first byte", "in the middle"])  # fmt: skip
def test_a_deadline_ends_a_question_over_tls(secured, tmp_path, monkeypatch, fault):
    with secured(fault) as fake:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "localhost.pem"))
        with awares_edge.connect(fake.url, protocol="paper") as model:
            with pytest.raises(DeadlineExceeded):
                model.ask(IMAGE, "What?", AskOptions(timeout=0.5))
            wait_for(fake.left)


def test_closing_ends_one(secured, tmp_path, monkeypatch):
    with secured(Fault(hang=True)) as fake:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "localhost.pem"))
        model = awares_edge.connect(fake.url, protocol="paper")
        timer = threading.Timer(0.2, model.close)
        timer.start()
        with pytest.raises(awares_edge.SessionError):
            model.ask(IMAGE, "What?")
        timer.join()
