"""The entity graph: who shares cards, accounts, devices, addresses, and how near a known fraud is. Pure."""

from sluice_graph.errors import GraphError
from sluice_graph.kinds import KINDS, PAYMENT_PATHS
from sluice_graph.label_desk import Label
from sluice_graph.observing import EventContext, Payments
from sluice_graph.policy import GraphPolicy, PolicyProblem
from sluice_graph.state import GraphOverlay, GraphState, StateSize

__all__ = [
    "KINDS",
    "PAYMENT_PATHS",
    "EventContext",
    "GraphError",
    "GraphOverlay",
    "GraphPolicy",
    "GraphState",
    "Label",
    "Payments",
    "PolicyProblem",
    "StateSize",
]
