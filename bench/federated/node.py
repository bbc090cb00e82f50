"""The ClientApp as a SuperNode loads it, `bench.federated.node:app`; its data is in its own `data-root`."""

from bench.federated.client import client_app

app = client_app(None)
