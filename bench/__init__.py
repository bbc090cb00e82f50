"""`bench`: an evaluation harness for federated, medical and generative vision."""

import os

__version__ = "0.1.0"

# Nothing is sent anywhere unasked: the switches must stand before the libraries are imported.
for _name, _value in {
    "DO_NOT_TRACK": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "NO_ALBUMENTATIONS_UPDATE": "1",
}.items():
    os.environ.setdefault(_name, _value)
