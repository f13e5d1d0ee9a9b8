"""A self-signed certificate: a phone's browser opens its camera only over HTTPS."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from awares_edge.errors import InputError
from awares_edge.files import whole_path

DAYS = 90
"""How long a certificate is valid. Browsers refuse self-signed ones of over 825 days (Apple's
requirements for certificates, HT210176)."""
_RENEW_BEFORE = timedelta(days=7)
_CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its private key, as PEM files.

    Attributes:
        fingerprint: SHA-256 of the certificate, as browsers show it: "AB:CD:...".
    """

    file: Path
    key: Path
    fingerprint: str


def certificate_for(names: Iterable[str], folder: Path) -> Certificate:
    """The certificate in a folder that only this user can read; made where there is none,
    where it ends within a week, or where it is for other names.

    Args:
        names: host names and IP addresses under which the server is reached.

    Raises:
        InputError: the folder cannot be made private or written to.
    """
    wanted = sorted(set(names))
    file, key, about = (folder / name for name in ("page.crt", "page.key", "page.json"))
    try:
        _make_private(folder)
        if not _still_good(file, key, about, wanted):
            _write(wanted, file, key, about)
        der = ssl.PEM_cert_to_DER_cert(file.read_text("ascii"))
    except OSError as error:
        raise InputError(f"cannot keep a certificate in {folder}: {error.strerror}") from error
    digest = hashlib.sha256(der).hexdigest().upper()
    return Certificate(file, key, ":".join(digest[i : i + 2] for i in range(0, 64, 2)))


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.lstat()
    if folder.is_symlink() or not folder.is_dir() or state.st_uid != os.getuid():
        raise InputError(f"{folder} must belong to this user: it holds the private key")
    if state.st_mode & 0o077:
        folder.chmod(0o700)


def _still_good(file: Path, key: Path, about: Path, names: list[str]) -> bool:
    try:
        facts = json.loads(about.read_text("utf-8"))
        until = datetime.fromisoformat(facts["until"])
        same = facts["names"] == names and until - datetime.now(timezone.utc) > _RENEW_BEFORE
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file, key)
    except (OSError, ValueError, KeyError, TypeError):  # ssl.SSLError is an OSError
        return False
    return bool(same)


def _write(names: list[str], file: Path, key: Path, about: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    private = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(timezone.utc)
    until = now + timedelta(days=DAYS)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "awares-edge camera")])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(usage, False)
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    facts = json.dumps({"names": names, "until": until.isoformat()})
    # The facts last: without them the pair is made again.
    about.unlink(missing_ok=True)
    for path, data in ((key, pem), (file, made.public_bytes(serialization.Encoding.PEM))):
        with whole_path(path) as temporary:
            opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(opened, "wb") as out:
                out.write(data)
    with whole_path(about) as temporary:
        temporary.write_text(facts, "utf-8")


def _general(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
