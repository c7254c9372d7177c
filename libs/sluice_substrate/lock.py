"""`python -m sluice_substrate.lock`: resolve jars.toml and write jars.lock.toml (maintainers only)."""

import hashlib
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from jgo.maven import Artifact, Dependency, MavenContext
from jgo.parse import Coordinate

_HERE = Path(__file__).parent
_RUNTIME_SCOPES = ("compile", "runtime")


def main() -> None:
    """Rewrite the lock file beside this module; the order is the order of the class path."""
    spec = tomllib.loads((_HERE / "jars.toml").read_text(encoding="utf-8"))
    blocks = ["# Generated from jars.toml by `python -m sluice_substrate.lock`; do not edit.\n"]
    with tempfile.TemporaryDirectory() as cache:
        context = MavenContext(repo_cache=Path(cache))
        for part, entry in spec.items():
            blocks.extend(_block(part, artifact) for artifact in _artifacts(context, entry))
    (_HERE / "jars.lock.toml").write_text("\n".join(blocks), encoding="utf-8")


def _artifacts(context: MavenContext, entry: dict[str, Any]) -> list[Artifact]:
    if "coordinates" not in entry:
        component = context.project(entry["group"], entry["name"]).at_version(entry["version"])
        return [component.artifact(classifier=entry["classifier"], packaging=entry["packaging"])]
    wanted: list[Dependency] = [
        context.create_dependency(replace(Coordinate.parse(text), scope="compile"))
        for text in entry["coordinates"]
    ]
    direct, transitive = context.resolver.resolve(wanted)
    resolved = [*direct, *(item for item in transitive if item.scope in _RUNTIME_SCOPES)]
    return [dependency.artifact for dependency in resolved]


def _block(part: str, artifact: Artifact) -> str:
    content = artifact.resolve().read_bytes()
    fields = {
        "part": part,
        "group": artifact.groupId,
        "name": artifact.artifactId,
        "version": artifact.version,
        "packaging": artifact.packaging,
        "classifier": artifact.classifier or "",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    lines = [f'{key} = "{value}"' for key, value in fields.items()]
    return "\n".join(["[[artifact]]", *lines, f"size = {len(content)}", ""])


if __name__ == "__main__":
    main()
