"""Where the REST interface of a running producer is: a file in the state folder, for tools on this host."""

import json
from pathlib import Path

from services.world_stream_producer.settings import SERVICE
from sluice_kit.config import Wiring


def endpoint_file(wiring: Wiring) -> Path:
    """The file that `write_endpoint` writes."""
    return wiring.state_dir / SERVICE / "endpoint.json"


def write_endpoint(wiring: Wiring, port: int) -> None:
    """Tell where the service listens; the newest instance on a host wins."""
    path = endpoint_file(wiring)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"url": f"http://{wiring.http.host}:{port}"}), encoding="utf-8")
    fresh.replace(path)


def read_endpoint(wiring: Wiring) -> str:
    """The base URL of the service on this host. Raises LookupError when none has started here."""
    path = endpoint_file(wiring)
    try:
        url: str = json.loads(path.read_text(encoding="utf-8"))["url"]
    except (OSError, ValueError, KeyError) as error:
        raise LookupError(f"{path} does not say where the World Stream Producer is; pass --url") from error
    return url
