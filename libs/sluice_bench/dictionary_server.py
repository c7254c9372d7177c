"""The floor of an online read: answers out of a dictionary, served as every service serves.

`python -m sluice_bench.dictionary_server --documents FILE --out FILE`: documents are a JSON object by event
id; the base URL is written to the other file once requests are answered.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from fastapi import APIRouter, FastAPI, Response

from sluice_kit.http import build_app, serve
from sluice_kit.telemetry import Health, MetricFamilies

SERVICE: Final = "bench_dictionary"
_HOST: Final = "127.0.0.1"


def dictionary_app(documents: Mapping[str, Any]) -> FastAPI:
    """`GET /v1/features?event_id=` over `documents`."""
    routes = APIRouter(prefix="/v1")

    @routes.get("/features")
    async def look_up(event_id: str) -> Response:
        """The document of an event."""
        found = documents.get(event_id)
        status = 404 if found is None else 200
        return Response(orjson.dumps(found), status, media_type="application/json")

    health = Health(SERVICE)
    return build_app(SERVICE, health, MetricFamilies().service(SERVICE, "0"), [routes])


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--documents", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    app = dictionary_app(orjson.loads(given.documents.read_bytes()))

    def bound(port: int) -> None:
        given.out.write_text(f"http://{_HOST}:{port}", encoding="utf-8")

    asyncio.run(serve(app, _HOST, 0, on_bound=bound))
    return 0


if __name__ == "__main__":
    sys.exit(main())
