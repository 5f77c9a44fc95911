"""A share whose agent is at the far end of a link."""

import contextlib
from pathlib import Path

from .certificates import Authority
from .cluster import Cluster
from .fault_proxy import FaultProxy
from .network import Network
from .pgshare import Agent, Relay
from .wire import WireClient

_COUNTER = iter(range(1_000_000))


class Identity:
    """The certificate of every relay of a network: their address is the same."""

    def __init__(self, authority: Authority):
        names = f"DNS:localhost,IP:127.0.0.1,IP:{Network.RELAY_ADDRESS}"
        certificate, key = authority.leaf("far-relay", "localhost", names)
        self.options = ["--tls-cert", str(certificate), "--tls-key", str(key)]
        self.ca_file = authority.certificate


class FarShare:
    """A relay on one side of a network, an agent on the other, which reaches its server by a unix
    socket. `name` is the share's own, for what it makes in a database that it is not alone in."""

    def __init__(
        self,
        folder: Path,
        cluster: Cluster,
        network: Network,
        identity: Identity,
        *more: str,
        has_proxy: bool = False,
    ):
        """With `has_proxy`, the agent reaches the relay through `proxy`, which stands beside it."""
        self.cluster = cluster
        self.network = network
        self.name = f"far_{next(_COUNTER)}"
        with contextlib.ExitStack() as undo:
            with network.relay_side:
                self.relay = Relay(
                    folder, *identity.options, ca_file=identity.ca_file, https_host="0.0.0.0"
                )
                port = self.relay.https_port
                self.proxy = FaultProxy(port, address="0.0.0.0") if has_proxy else None
            undo.callback(self.relay.stop)
            if self.proxy is not None:
                undo.callback(self.proxy.close)
                port = self.proxy.port
            with network.agent_side:
                self.agent = Agent(
                    self.relay, cluster, *more, wait=False,
                    url=f"https://{Network.RELAY_ADDRESS}:{port}",
                )  # fmt: skip
            undo.callback(self.agent.stop)
            # Over a slow link, among many that begin at the same time.
            self.agent.wait_shared(90)
            self._undo = undo.pop_all()

    def metric(self, name: str) -> float:
        with self.network.relay_side:
            return self.relay.metric(name)

    def client(self, **options) -> WireClient:
        """A client beside the relay."""
        with self.network.relay_side:
            return WireClient(self.agent.endpoint, **options)

    def close(self) -> None:
        self._undo.close()
