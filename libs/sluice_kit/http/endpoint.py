"""Where a service of this host listens: a small file in the state folder, for tools and neighbours."""

import json
from pathlib import Path

import psutil


def endpoint_file(state_dir: Path, service: str) -> Path:
    """The file that `write_endpoint` writes."""
    return state_dir / service / "endpoint.json"


def write_endpoint(state_dir: Path, service: str, host: str, port: int) -> None:
    """Tell where this process serves `service`; the newest instance on a host wins."""
    own = psutil.Process()
    path = endpoint_file(state_dir, service)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"endpoint.{own.pid}.tmp")
    content = {"url": f"http://{host}:{port}", "pid": own.pid}
    fresh.write_text(json.dumps(content), encoding="utf-8")
    fresh.replace(path)


def read_endpoint(state_dir: Path, service: str) -> str:
    """Base URL of a service on this host. Raises LookupError when none has started here."""
    path = endpoint_file(state_dir, service)
    try:
        url: str = json.loads(path.read_text(encoding="utf-8"))["url"]
    except (OSError, ValueError, KeyError) as error:
        raise LookupError(f"{path} does not say where {service} listens: is it running?") from error
    return url
