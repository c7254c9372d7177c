"""A whole local deployment: substrate, topics and access, schemas, tokens, services."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sluice_contracts import TOPICS
from sluice_contracts.registry import Registry, publish
from sluice_fleet.fleet import Fleet
from sluice_fleet.signing_keys import ensure_signing_key
from sluice_fleet.tokens import ensure_tokens
from sluice_fleet.topology import Topology, load_topology
from sluice_kit.config import load_wiring
from sluice_kit.kafka import admin
from sluice_substrate import COMPONENTS, Component, LocalStack, Progress, external

Report = Callable[[str, str, int | None, int | None], None]
"""Called with what is being worked on, its state, and bytes done and wanted where it is a download."""


def _quiet(_what: str, _state: str, _done: int | None, _total: int | None) -> None:
    return


@dataclass(slots=True)
class Deployment:
    """Everything under one home folder. `up` and `down` may be called again at any time."""

    home: Path
    topology: Topology = field(default_factory=load_topology)
    bound: bool = False
    """Whether it all ends with this process, even when that is killed."""

    @property
    def stack(self) -> LocalStack:
        """The substrate."""
        return LocalStack(self.home, bound=self.bound)

    @property
    def fleet(self) -> Fleet:
        """The services."""
        return Fleet(self.home, self.topology)

    @property
    def wiring_file(self) -> Path:
        """What services and tools are wired by."""
        return self.home / "wiring.yaml"

    def up(self, report: Report = _quiet) -> None:
        """Bring everything up. Raises SubstrateError, FleetError, KafkaException."""
        self.substrate_up(report)
        self.fleet.start(report=lambda service, state: report(service, state, None, None))

    def substrate_up(self, report: Report = _quiet, *, components: Sequence[Component] = COMPONENTS) -> None:
        """Bring up what the services need: broker, database, registry, topics, access, tokens, keys.

        `components` may leave parts out that nobody will ask for; the broker has to be among them.
        """

        def progress(step: Progress) -> None:
            report(step.component, step.text, step.done, step.total)

        stack = self.stack
        for component in stack.up(components, progress=progress).components:
            report(component.name, "ready", None, None)
        report("topics", "applying", None, None)
        client = stack.admin()
        admin.apply(client, admin.plan(client, TOPICS))
        ensure_tokens(self.home / "secrets")
        ensure_signing_key(self.home / "secrets")
        report("topics", "ready", None, None)
        self._publish_schemas(report)

    def adopt(self, wiring_file: Path) -> None:
        """Run the services against somebody's cluster: check that it answers and take its wiring over.

        Topics and access are theirs to apply (`sluice topics plan`). Raises WiringError, Unreachable.
        """
        external.require(load_wiring(wiring_file))
        self.home.mkdir(parents=True, exist_ok=True)
        self.wiring_file.write_bytes(wiring_file.read_bytes())

    def _publish_schemas(self, report: Report) -> None:
        """Put the schemas where outside consumers look them up; the registry forgets them with its memory."""
        url = load_wiring(self.wiring_file).registry.url
        if url is not None:
            report("schemas", "publishing", None, None)
            publish(Registry(url))
            report("schemas", "ready", None, None)

    def down(self) -> list[str]:
        """Drain the services, then stop the substrate; returns the services that had to be killed."""
        killed = self.fleet.stop()
        self.stack.down()
        return killed
