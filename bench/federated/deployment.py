"""A real Flower deployment as a `Grid`: a SuperLink, one SuperNode a client, nothing shared between them.

On one machine `deployment_grid(shards, clients, folder)` starts all of it on the loopback interface. Over
several machines every hospital keeps its own data folder (`images.npy`, `labels.npy`, `shard.json`) and only
weights travel. All machines install the same version of this package and activate its environment.

The folders of a task's partition are written, on the researcher's machine, by

    python -m bench.federated.hospitals out=DIR task=federated_ham10k data_root=...

and each is copied to its hospital. On the server, a SuperLink whose port the hospitals and the researcher
can reach:

    flower-superlink --isolation process --host 0.0.0.0 --port 8000 \
        --ssl-ca-certfile ca.crt --ssl-certfile server.pem --ssl-keyfile server.key \
        --superexec-auth-secret-file secret

At each of the K hospitals, counted from 0 (here the third of ten), one SuperNode beside the data:

    export OMP_NUM_THREADS=1 FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
    flower-supernode --superlink server.example.org:8000 --root-certificates ca.crt \
        --node-config "partition-id=2 num-partitions=10 data-root='/data/client_002'"

On the researcher's machine the run is given the address, the CA certificate and the secret, and the same
task, data and protocol that the folders were written with (it holds the clients' test images and checks the
rest):

    bench run task=... method=... grid=deployment superlink=server.example.org:8000,ca=ca.crt,secret=secret

Hospitals and researcher only call out, to one port. `superlink=` is `host:port`, then `,ca=FILE` for a CA
of one's own (without it the system's are trusted), `,secret=FILE` (any file of random bytes, the same as the
SuperLink's: who holds it may compute as the server), or `,insecure` for a SuperLink started with `--insecure`
(tests on one machine, never between hospitals). The SuperLink must run with `--isolation process`: the run's
ServerApp is a relay on the researcher's machine, started here by `flower-superexec`; in its default mode a
SuperLink would start it on the server. One run at a time.

Flower's certificate flags as `--help` of flwr 1.41 prints them. `flower-superlink`:

    --ssl-certfile SSL_CERTFILE
                  Server TLS certificate file for Fleet, Control, and Runtime APIs (as a path str) to
                  create secure connections.
    --ssl-keyfile SSL_KEYFILE
                  Server TLS private key file for Fleet, Control, and Runtime APIs (as a path str) to
                  create secure connections.
    --ssl-ca-certfile SSL_CA_CERTFILE
                  Server TLS CA certificate file for Fleet, Control, and Runtime APIs (as a path str) to
                  create secure connections.

`flower-supernode`:

    --root-certificates ROOT_CERT
                  Path to a PEM-encoded root CA certificate (or CA bundle) used to verify the server's TLS
                  certificate. This is not a client certificate for mTLS.

The server's certificate names its host (`subjectAltName`). Where hospitals must prove who they are:
`flower-superlink --enable-supernode-auth` and `flower-supernode --auth-supernode-private-key KEY`. Whoever
reaches a SuperLink's port can give it an app that the SuperNodes then execute: between hospitals let only the
participants reach it (VPN, firewall). The deployment on one machine trusts all users of that machine.
"""

from __future__ import annotations

import json
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.errors import RunFailed
from bench.federated.flower import Grid, identify
from bench.federated.processes import Guarded, environment, free_ports, last_line
from bench.federated.relay import PORT, SECRET, RelayGrid, accept
from bench.federated.shards import folder_of
from bench.federated.superlink import SuperLink, quoted

JOINS_WITHIN = 10.0  # seconds until a SuperLink of others must answer
APP = """\
[project]
name = "bench-grid"
version = "1.0.0"
description = "Hands a SuperLink's grid to a process of bench."
license = "Apache-2.0"
dependencies = []  # all there is to run is installed on each machine

[tool.flwr.app]
publisher = "bench"

[tool.flwr.app.components]
serverapp = "bench.federated.relay:app"
clientapp = "bench.federated.node:app"
"""


@contextmanager
def deployment_grid(shards: Path, clients: int, folder: Path, superlink: str | None = None) -> Iterator[Grid]:
    """Start a Flower deployment or join one, and end what was started when the context is left.

    Args:
        shards: Folder of all shards; SuperNode `i` is told of `client_00i/` alone. Not read with `superlink`.
        clients: K, how many SuperNodes there are.
        folder: Gets the log files and Flower's own folder.
        superlink: `host:port[,ca=FILE][,secret=FILE][,insecure]` of a running SuperLink (see this module);
            None starts one, with K SuperNodes, on the loopback interface.

    Yields:
        A grid of K nodes, in no order.

    Raises:
        UserError: `superlink` is not understood.
        RunFailed: A process did not start or died, with its log file; not all nodes came.
    """
    link = None if superlink is None else SuperLink.parse(superlink)
    identify()
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        deployment = _Deployment(folder, stack)
        if link is None:
            link = deployment.start_superlink(clients)
            deployment.start_supernodes(link, shards, clients)
        grid = deployment.start_relay(link, patience=60.0 + 10.0 * clients)
        deployment.wait_for_nodes(grid, clients, patience=60.0 + 10.0 * clients)
        yield grid


class _Deployment:
    """The processes of one context, ended in the opposite order."""

    def __init__(self, folder: Path, stack: ExitStack):
        self.folder, self.stack = folder, stack
        self.home = folder / "flower"
        self.home.mkdir(exist_ok=True)
        self.env = environment(self.home)
        self.vital: list[Guarded] = []  # the run cannot go on without them
        self.nodes: list[Guarded] = []
        self.ports: list[int] = []

    def run(self, name: str, command: list[str], log: str, env: dict[str, str] | None = None) -> Guarded:
        process = Guarded(name, command, self.folder / f"{log}.log", env or self.env)
        self.stack.callback(process.end)
        return process

    def check(self) -> None:
        """Raise when the run cannot go on."""
        for process in self.vital:
            process.check()

    def ask_to_end(self) -> None:
        """Ask all who still say goodbye to the SuperLink, so that they end side by side."""
        for process in (*self.nodes, *self.vital[1:]):
            process.ask_to_end()

    def start_superlink(self, clients: int) -> SuperLink:
        """A SuperLink on the loopback interface, answering when this returns."""
        port, *self.ports = free_ports(1 + clients)
        command = ["flower-superlink", "--insecure", "--isolation", "process"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        self.vital.append(self.run("The SuperLink", command, "superlink"))
        return SuperLink(f"127.0.0.1:{port}", insecure=True)

    def start_supernodes(self, link: SuperLink, shards: Path, clients: int) -> None:
        """K SuperNodes, each with its own folder."""
        for i, port in zip(range(clients), self.ports, strict=True):
            # Each has a home of its own too: hospitals share none, and neither do these.
            home = self.folder / f"client_{i:03d}"
            home.mkdir(exist_ok=True)
            root = quoted(folder_of(shards.absolute(), i))
            command = ["flower-supernode", "--superlink", link.address, *link.flags(), "--port", str(port)]
            command += ["--node-config", f"partition-id={i} num-partitions={clients} data-root={root}"]
            self.nodes.append(self.run(f"SuperNode {i}", command, f"client_{i:03d}", environment(home)))

    def start_relay(self, link: SuperLink, patience: float) -> RelayGrid:
        """Give the SuperLink our app, whose ServerApp then connects back."""
        secret = secrets.token_bytes(32)
        listener = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        env = {**self.env, PORT: str(listener.getsockname()[1]), SECRET: secret.hex()}
        end = time.monotonic() + patience
        run_id = self.submit(link, end)
        command = ["flower-superexec", "--runtime-api-address", link.address, *link.flags()]
        if link.secret is not None:
            command += ["--superexec-auth-secret-file", str(link.secret)]
        self.vital.append(self.run("Flower's SuperExec", command, "superexec", env))

        def go_on() -> bool:
            self.check()
            return time.monotonic() < end

        wire = accept(listener, secret, go_on)
        if wire is None:
            raise RunFailed(
                f"The SuperLink at {link.address} did not hand over run {run_id} within {patience:.0f} s; "
                "start it with `--isolation process` and with no other run on it "
                f"(the log is {self.folder / 'superexec.log'})."
            )
        grid = RelayGrid(wire, self.check)
        self.stack.callback(self.ask_to_end)
        self.stack.callback(grid.stop, 10.0)
        return grid

    def submit(self, link: SuperLink, end: float) -> str:
        """`flwr run` of an app that holds nothing but names; returns the run's id."""
        app = self.folder / "bench-grid"
        app.mkdir(exist_ok=True)
        (app / "pyproject.toml").write_text(APP, encoding="utf-8")
        (self.home / "config.toml").write_text(link.connection(), encoding="utf-8")
        log = self.folder / "flwr-run.log"
        self.wait_for_port(link, end)
        command = ["flwr", "run", str(app), "bench", "--format", "json"]
        process = self.run("`flwr run`", command, "flwr-run")
        while process.process.poll() is None:
            self.check()
            if time.monotonic() > end:
                raise RunFailed(
                    f"`flwr run` did not end; look whether {link.address} is a SuperLink ({log})."
                )
            time.sleep(0.05)
        text = log.read_text(errors="replace")
        try:
            answer = json.loads(text[text.index("{") : text.rindex("}") + 1])
            return str(answer["run-id"])
        except (ValueError, KeyError) as error:
            raise RunFailed(f"`flwr run` failed: {last_line(log)} (its log is {log}).") from error

    def wait_for_port(self, link: SuperLink, end: float) -> None:
        """Return when the SuperLink takes connections."""
        host, _, port = link.address.rpartition(":")
        if not self.vital:  # not ours: it runs already, or starts just now
            end = min(end, time.monotonic() + JOINS_WITHIN)
        while True:
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=2.0).close()
                return
            except OSError as error:
                self.check()
                if time.monotonic() > end:
                    raise RunFailed(f"The SuperLink at {link.address} does not answer: {error}.") from error
            time.sleep(0.1)

    def wait_for_nodes(self, grid: RelayGrid, clients: int, patience: float) -> None:
        """Return when K nodes are registered."""
        end = time.monotonic() + patience
        while (found := len(grid.get_node_ids())) < clients:
            self.check()
            for node in self.nodes:
                node.check()
            if time.monotonic() > end:
                raise RunFailed(
                    f"{found} of {clients} SuperNodes joined within {patience:.0f} s; "
                    f"start the others, or look at their logs below {self.folder}."
                )
            time.sleep(0.2)
        if found > clients:
            raise RunFailed(
                f"The SuperLink has {found} SuperNodes where the run has {clients} clients; stop the others."
            )
