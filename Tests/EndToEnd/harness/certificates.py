"""A certificate authority for one run, and leaves for the servers and roles of the tests."""

from pathlib import Path

from .processes import run_well


class Authority:
    """Makes keys and certificates with openssl. Nothing of it outlives the run."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        run_well(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=pgshare test authority",
             "-keyout", str(self._key), "-out", str(self.certificate)]
        )  # fmt: skip

    def leaf(self, name: str, subject: str, alternatives: str = "") -> tuple[Path, Path]:
        """A certificate and its key, for a host or a role."""
        key, request = self.folder / f"{name}.key", self.folder / f"{name}.csr"
        certificate, extension = self.folder / f"{name}.pem", self.folder / f"{name}.ext"
        run_well(
            ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-subj", f"/CN={subject}", "-keyout", str(key), "-out", str(request)]
        )  # fmt: skip
        extension.write_text(f"subjectAltName={alternatives}\n" if alternatives else "\n")
        run_well(
            ["openssl", "x509", "-req", "-in", str(request), "-CA", str(self.certificate),
             "-CAkey", str(self._key), "-CAcreateserial", "-days", "2", "-sha256",
             "-extfile", str(extension), "-out", str(certificate)]
        )  # fmt: skip
        key.chmod(0o600)
        return certificate, key
