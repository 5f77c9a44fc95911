"""An issuer of JSON Web Tokens (RFC 7519; HS256 and EdDSA) that a relay can be told to believe."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Issuer:
    """Signs with a secret that it shares with the relay by a file, or with a key of a key set."""

    name, audience, key_id = "https://issuer.test", "pgshare", "this-year"

    def __init__(self, folder: Path):
        self._secret = secrets.token_hex(32)
        self._file = folder / "jwt-secret"
        self._file.touch(0o600)
        self._file.write_text(self._secret)
        self._key = Ed25519PrivateKey.generate()
        self._key_set = folder / "keys.json"
        public = {"kty": "OKP", "crv": "Ed25519", "kid": self.key_id, "use": "sig"}
        public["x"] = _base64(self._key.public_key().public_bytes_raw())
        self._key_set.write_text(json.dumps({"keys": [public]}))

    @property
    def options(self) -> list[str]:
        """What a relay is started with to believe it."""
        return [
            "--jwt-issuer", self.name, "--jwt-audience", self.audience,
            "--jwt-secret-file", str(self._file), "--jwt-jwks", str(self._key_set),
        ]  # fmt: skip

    def token(
        self, subject: str, seconds: float = 600, algorithm: str = "HS256",
        key_id: str | None = None, **changes: object
    ) -> str:  # fmt: skip
        """A token of `subject` that is good for so long; a claim that is None is left out."""
        now = time.time()
        claims = {
            "iss": self.name, "aud": self.audience, "sub": subject, "iat": int(now) - 60,
            "exp": int(now + seconds), **changes,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": algorithm, "typ": "JWT"}
        if algorithm == "EdDSA":
            header["kid"] = key_id or self.key_id
        signed = ".".join(_text(part) for part in (header, claims))
        if algorithm == "EdDSA":
            proof = self._key.sign(signed.encode())
        else:
            proof = hmac.digest(self._secret.encode(), signed.encode(), hashlib.sha256)
        return f"{signed}.{_base64(proof)}"


def _text(part: dict) -> str:
    return _base64(json.dumps(part).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
