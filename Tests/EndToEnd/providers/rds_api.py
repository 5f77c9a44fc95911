"""AWS's RDS API on a loopback port: moto keeps the instances, a thin proxy adds what moto lacks.

moto makes an instance `available` at once, at a host that does not exist. The proxy lets it pass
through `creating` and `backing-up`, points its Endpoint at a real local Postgres, checks every
signature with botocore, and injects faults.
"""

import datetime
import http.client
import logging
import re
import threading
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import botocore.auth
import botocore.awsrequest
import botocore.credentials
from moto.server import ThreadedMotoServer

_NAMESPACE = "http://rds.amazonaws.com/doc/2014-10-31/"
_OFF_BY = datetime.timedelta(minutes=5)


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of an action."""

    action: str
    # throttle, error500, unavailable, cut_before (not executed), cut_after (executed, no answer),
    # cut_inside (half of the answer), garbage, too_large, denied, quota
    kind: str
    times: int = 1
    # Requests of the action that pass before the first fault.
    skip: int = 0


@dataclass
class Walk:
    """What an instance's status is, look by look, after it was made; the last one stays."""

    statuses: list[str] = field(default_factory=lambda: ["creating", "backing-up", "available"])
    # How many looks at `available` still have no Endpoint.
    looks_without_endpoint: int = 1


class RDSAPI:
    """One account. `credentials` go into the environment of the program under test."""

    access_key = "AKIDPGSHARETESTS0000"
    secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYTESTSECRETKEY"
    region = "eu-central-1"

    def __init__(self, host: str, port: int, made: Callable[[str, str, str], None] | None = None):
        """`host` and `port` of the Postgres behind every instance; `made(user, password,
        database)` is called when an instance is made."""
        self.postgres = (host, port)
        self.made = made or (lambda user, password, database: None)
        self.session_token: str | None = None
        self.walk = Walk()
        self.faults: list[Fault] = []
        self.requests: list[dict[str, str]] = []
        self.looks: Counter[str] = Counter()
        self._lock = threading.Lock()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._moto.start()
        self._moto_address = self._moto.get_host_and_port()
        self._ask_moto("POST", "/moto-api/reset", b"", {})
        api = self

        class Handler(_Handler):
            pass

        Handler.api = api
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    # For tests

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """For the program under test."""
        words = {
            "PGSHARE_RDS_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
        }
        return words | ({"AWS_SESSION_TOKEN": self.session_token} if self.session_token else {})

    def fail(self, action: str, kind: str, times: int = 1, skip: int = 0) -> None:
        """Plans a fault."""
        self.faults.append(Fault(action, kind, times, skip))

    def count(self, action: str) -> int:
        """How many requests of that action came, the failed ones included."""
        return sum(request["Action"] == action for request in self.requests)

    def make(self, identifier: str, user: str, database: str, **tags: str) -> None:
        """Makes an instance behind the program's back; it is `available`."""
        form = {
            "Action": "CreateDBInstance", "Version": "2014-10-31",
            "DBInstanceIdentifier": identifier, "DBInstanceClass": "db.t4g.micro",
            "Engine": "postgres", "AllocatedStorage": "20", "DBName": database,
            "MasterUsername": user, "MasterUserPassword": "set behind the back",
        }  # fmt: skip
        for number, (key, value) in enumerate(tags.items(), 1):
            form[f"Tags.Tag.{number}.Key"] = key
            form[f"Tags.Tag.{number}.Value"] = value
        status, body = self._forward(urllib.parse.urlencode(form).encode(), self._signed_anyhow())
        assert status == 200, body
        self.looks[identifier] = 1_000_000

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._moto.stop()

    # Requests

    def answer(self, headers, body: bytes) -> tuple[int, bytes, str | None]:
        """Status, body and what goes wrong on the way back."""
        form = dict(urllib.parse.parse_qsl(body.decode()))
        action = form.get("Action", "")
        with self._lock:
            self.requests.append(form)
            fault = self._next_fault(action)
            if fault in _REFUSALS:
                status, code = _REFUSALS[fault]
                return status, _error(code, "injected by the test"), None
            if fault in ("cut_before", "garbage", "too_large"):
                return 200, b"", fault
            refusal = self._check_signature(headers, body)
            if refusal is not None:
                return 403, _error(refusal, "the request was not signed as it should be"), None
            if form.get("Version") != "2014-10-31":
                return 400, _error("InvalidParameterValue", "Version"), None
            return *self._execute(action, form, headers, body), fault

    def _execute(self, action: str, form, headers, body: bytes) -> tuple[int, bytes]:
        status, answer = self._forward(body, headers)
        identifier = form.get("DBInstanceIdentifier", "")
        if status == 200 and action == "CreateDBInstance":
            self.looks[identifier] = 0
            self.made(form["MasterUsername"], form["MasterUserPassword"], form["DBName"])
        if status == 200 and action in ("CreateDBInstance", "DescribeDBInstances"):
            answer = self._rewrite(answer)
            if action == "DescribeDBInstances":
                self.looks[identifier] += 1
        return status, answer

    def _next_fault(self, action: str) -> str | None:
        for fault in self.faults:
            if fault.action == action and fault.times > 0:
                if fault.skip > 0:
                    fault.skip -= 1
                    return None
                fault.times -= 1
                return fault.kind
        return None

    def _rewrite(self, answer: bytes) -> bytes:
        """Status and Endpoint as the walk says, the password never."""
        ElementTree.register_namespace("", _NAMESPACE)
        tree = ElementTree.fromstring(answer)
        for instance in tree.iter(f"{{{_NAMESPACE}}}DBInstance"):
            name = instance.findtext(f"{{{_NAMESPACE}}}DBInstanceIdentifier", "")
            look = self.looks[name]
            steps = self.walk.statuses
            status = steps[min(look, len(steps) - 1)]
            _set(instance, "DBInstanceStatus", status)
            ready = len(steps) - 1 + self.walk.looks_without_endpoint
            endpoint = instance.find(f"{{{_NAMESPACE}}}Endpoint")
            if endpoint is not None and look < ready:
                instance.remove(endpoint)
            elif endpoint is not None:
                _set(endpoint, "Address", self.postgres[0])
                _set(endpoint, "Port", str(self.postgres[1]))
        return ElementTree.tostring(tree, encoding="utf-8", xml_declaration=True)

    # Signatures

    def _check_signature(self, headers, body: bytes) -> str | None:
        """AWS's word for what is wrong with the signature, or None. botocore signs it again."""
        given = headers.get("Authorization", "")
        match = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/rds/aws4_request, "
            r"SignedHeaders=([a-z0-9;-]+), Signature=[0-9a-f]{64}",
            given,
        )
        if match is None:
            return "IncompleteSignature"
        key, _, region, names = match.groups()
        if key != self.access_key:
            return "InvalidClientTokenId"
        if self.session_token is not None:
            if headers.get("X-Amz-Security-Token") != self.session_token:
                return "InvalidClientTokenId"
            if "x-amz-security-token" not in names.split(";"):
                return "SignatureDoesNotMatch"
        time = datetime.datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
        if abs(datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - time) > _OFF_BY:
            return "RequestExpired"
        expected = self._signature(headers, names.split(";"), body, region)
        return None if given.endswith(expected) else "SignatureDoesNotMatch"

    def _signature(self, headers, names: list[str], body: bytes, region: str) -> str:
        request = botocore.awsrequest.AWSRequest(
            "POST", f"http://{headers['Host']}/", data=body,
            headers={name: headers[name] for name in names if name != "host"},
        )  # fmt: skip
        request.context["timestamp"] = headers["X-Amz-Date"]
        credentials = botocore.credentials.Credentials(self.access_key, self.secret_key)
        signer = botocore.auth.SigV4Auth(credentials, "rds", region)
        canonical = signer.canonical_request(request)
        return signer.signature(signer.string_to_sign(request, canonical), request)

    # moto

    def _signed_anyhow(self) -> dict[str, str]:
        """moto reads the region out of the signature; it does not check it."""
        scope = f"{self.access_key}/20260101/{self.region}/rds/aws4_request"
        return {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
            "Content-Type": "application/x-www-form-urlencoded",
        }

    def _forward(self, body: bytes, headers) -> tuple[int, bytes]:
        kept = {name: headers[name] for name in ("Authorization", "Content-Type")}
        return self._ask_moto("POST", "/", body, kept | {"Host": f"rds.{self.region}.amazonaws.com"})

    def _ask_moto(self, method: str, path: str, body: bytes, headers) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*self._moto_address, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()


_REFUSALS = {
    "throttle": (400, "Throttling"),
    "error500": (500, "InternalFailure"),
    "unavailable": (503, "ServiceUnavailable"),
    "denied": (403, "AccessDenied"),
    "quota": (400, "InstanceQuotaExceeded"),
}


def _set(parent: ElementTree.Element, name: str, text: str) -> None:
    child = parent.find(f"{{{_NAMESPACE}}}{name}")
    if child is None:
        child = ElementTree.SubElement(parent, f"{{{_NAMESPACE}}}{name}")
    child.text = text


def _error(code: str, message: str) -> bytes:
    return (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{message}</Message></Error><RequestId>0</RequestId></ErrorResponse>"
    ).encode()


class _Handler(BaseHTTPRequestHandler):
    """One connection; a cut closes it without a word."""

    protocol_version = "HTTP/1.1"
    api: RDSAPI

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        status, answer, fault = self.api.answer(self.headers, body)
        if fault in ("cut_before", "cut_after"):
            self.close_connection = True
            return
        if fault == "garbage":
            answer = b"<html><body>a proxy's page<br></body>"
        if fault == "too_large":
            answer = b" " * (64 << 20)
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        try:
            if fault == "cut_inside":
                self.wfile.write(answer[: len(answer) // 2])
                self.close_connection = True
            else:
                self.wfile.write(answer)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""
