"""Policy of the graph as a file. Wiring is a separate one."""

from pathlib import Path
from typing import Any, Final

import yaml

from sluice_graph import GraphPolicy, PolicyProblem
from sluice_kit.config import PolicyError

POLICY_FILE: Final = "entity_graph.yaml"


def load_policy(folder: Path) -> GraphPolicy:
    """Read the policy of a folder. Raises PolicyError naming the file and what is wrong with it."""
    path = folder / POLICY_FILE
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise PolicyError(f"policy file {path} cannot be read: {error}") from error
    policy = GraphPolicy.parse(content)
    if isinstance(policy, PolicyProblem):
        raise PolicyError(f"policy file {path}: {policy}")
    return policy
