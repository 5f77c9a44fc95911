"""An issuer of JSON Web Tokens (RFC 7519, HS256) that a relay can be told to believe."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from pathlib import Path


class Issuer:
    """Signs with a secret that it shares with the relay by a file."""

    name, audience = "https://issuer.test", "pgshare"

    def __init__(self, folder: Path):
        self._secret = secrets.token_hex(32)
        self._file = folder / "jwt-secret"
        self._file.touch(0o600)
        self._file.write_text(self._secret)

    @property
    def options(self) -> list[str]:
        """What a relay is started with to believe it."""
        return [
            "--jwt-issuer", self.name, "--jwt-audience", self.audience,
            "--jwt-secret-file", str(self._file),
        ]  # fmt: skip

    def token(self, subject: str, seconds: float, audience: str | None = None) -> str:
        """A token of `subject` that is good for so long."""
        now = time.time()
        claims = {
            "iss": self.name, "aud": audience or self.audience, "sub": subject,
            "iat": int(now) - 60, "exp": int(now + seconds),
        }  # fmt: skip
        signed = ".".join(_text(part) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
        proof = hmac.digest(self._secret.encode(), signed.encode(), hashlib.sha256)
        return f"{signed}.{_base64(proof)}"


def _text(part: dict) -> str:
    return _base64(json.dumps(part).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
