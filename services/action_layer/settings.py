"""Settings of the action layer: wiring from one file, policy from another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import SettingsConfigDict

from services.action_layer.authorisation import Authority, Permission
from services.action_layer.core import CallRules
from sluice_kit.config import FileSettings, PolicyError, Wiring, load_settings
from sluice_kit.config.wiring import POLICY_DIR

INTENTS: Final = "traffic.action_intent"
POLICY_FILE: Final = "action_layer.yaml"
"""In the wiring's `policy_dir`."""
DEFAULT_POLICY: Final = POLICY_DIR / POLICY_FILE

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")]
NameOrAny = Annotated[str, Field(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9_.:-]{0,127})$")]
Names = Annotated[frozenset[NameOrAny], Field(min_length=1)]
Milliseconds = Annotated[int, Field(strict=True, ge=1, le=86_400_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LogEffector(_Part):
    """Writes a line to the effect log; ``roll_bytes``: a file that is longer is closed and the next begun."""

    kind: Literal["log"]
    roll_bytes: int = Field(default=268_435_456, ge=1)
    fsync: Literal["batch", "never"] = "batch"


class ListEffector(_Part):
    """Changes lists by an event; ``operations`` says which action adds and which removes."""

    kind: Literal["list"]
    operations: dict[Name, Literal["ADD", "REMOVE"]]


class Reconcile(_Part):
    """What settles doubt: asking the target's status URL, calling again with the same key, or a person.

    Instead of a person, a target that the wiring says to honour keys (`honours_key`) is called again.
    """

    by: Literal["status", "retry", "hand"] = "hand"
    wait_ms: Milliseconds = 2_000
    looks: int = Field(default=10, ge=1, le=1_000)


class WebhookEffector(_Part):
    """Calls a URL of the wiring. ``timeout_ms`` covers a whole call; rates are calls a second."""

    kind: Literal["webhook"]
    concurrency: int = Field(default=32, ge=1, le=1_000)
    rate_per_second: float = Field(default=500.0, gt=0)
    burst: int = Field(default=500, ge=1)
    timeout_ms: Milliseconds = 5_000
    max_attempts: int = Field(default=12, ge=1, le=100)
    backoff_first_ms: Milliseconds = 500
    backoff_longest_ms: Milliseconds = 30_000
    reconcile: Reconcile = Reconcile()

    def call_rules(self, *, honours_key: bool) -> CallRules:
        """The part that the state machine reads, for a target that does a key once or not."""
        by = self.reconcile.by
        return CallRules(
            self.max_attempts,
            self.backoff_first_ms,
            self.backoff_longest_ms,
            "retry" if by == "hand" and honours_key else by,
            self.reconcile.wait_ms,
            self.reconcile.looks,
        )


Effector = Annotated[LogEffector | ListEffector | WebhookEffector, Field(discriminator="kind")]


class Allowed(_Part):
    """What one effector may do; ``*`` is anything."""

    effector: Name
    actions: Names
    domains: Names
    outcomes: Names
    tenants: Names


class ActionPolicy(FileSettings):
    """Who may do what, and how; ``revision`` stands in every outcome."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="SLUICE_AL_")

    revision: Name
    keep_settled_days: int = Field(default=8, ge=1, le=3_650)
    effectors: dict[Name, Effector]
    allowed: tuple[Allowed, ...]

    def of_kind(self, kind: type[LogEffector | ListEffector | WebhookEffector]) -> list[str]:
        """Names of the effectors of a kind, sorted."""
        return sorted(name for name, effector in self.effectors.items() if isinstance(effector, kind))

    @property
    def webhooks(self) -> Mapping[str, WebhookEffector]:
        """The effectors that call somebody, by name."""
        found = {name: one for name, one in self.effectors.items() if isinstance(one, WebhookEffector)}
        return dict(sorted(found.items()))

    @property
    def log(self) -> LogEffector | None:
        """The effector that writes the effect log, if there is one."""
        return next((one for one in self.effectors.values() if isinstance(one, LogEffector)), None)

    def authority(self, wiring: Wiring) -> Authority:
        """The policy as intents are held against it, with what this deployment can reach."""
        wired = self.effectors.keys() - (self.webhooks.keys() - wiring.webhooks.keys())
        lists = {name: one for name, one in self.effectors.items() if isinstance(one, ListEffector)}
        return Authority(
            self.revision,
            {name: one.kind for name, one in self.effectors.items()},
            frozenset(wired),
            {name: dict(one.operations) for name, one in lists.items()},
            tuple(
                Permission(one.effector, one.actions, one.domains, one.outcomes, one.tenants)
                for one in self.allowed
            ),
        )


def load_policy(path: Path = DEFAULT_POLICY) -> ActionPolicy:
    """Read a policy file (YAML). Raises PolicyError naming the file and every wrong key."""
    policy = load_settings(ActionPolicy, path, "policy", PolicyError)
    if len(policy.of_kind(LogEffector)) > 1:
        raise PolicyError(
            f"policy file {path}: effectors: there is one effect log, so one effector of kind log"
        )
    for number, allowed in enumerate(policy.allowed):
        if allowed.effector not in policy.effectors:
            where = f"allowed.{number}.effector"
            raise PolicyError(f"policy file {path}: {where}: effectors has no {allowed.effector}")
    return policy


def check_against_wiring(policy: ActionPolicy, wiring: Wiring) -> None:
    """Raises PolicyError when the policy wants of a target what the wiring does not know of it."""
    for name, effector in policy.webhooks.items():
        target = wiring.webhooks.get(name)
        if target is None:
            continue
        if effector.reconcile.by == "retry" and not target.honours_key:
            raise PolicyError(
                f"effector {name} reconciles by retry, but the wiring does not say that its target does a key"
                f" once; set webhooks.{name}.honours_key to true if it does, else reconcile.by to another way"
            )
        if effector.reconcile.by == "status" and target.status_url is None:
            raise PolicyError(
                f"effector {name} reconciles by status, but webhooks.{name} in the wiring has no status_url; "
                f"add one, or set reconcile.by to hand"
            )


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a process is started with."""

    wiring: Wiring
    policy: ActionPolicy
    host: str
    port: int
