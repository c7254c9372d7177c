"""Kinds of entities, the edges between them, and where a payment and a label name them."""

from typing import Final, NamedTuple

CUSTOMER, CARD, ACCOUNT, DEVICE, TERMINAL, MERCHANT, ADDRESS = range(7)
KINDS: Final = ("customer", "card", "account", "device", "terminal", "merchant", "address")
"""Names by number."""
PAYMENT_PATHS: Final = (
    "payload.customer_id",
    "payload.card_id",
    "payload.account_id",
    "payload.device_id",
    "payload.terminal_id",
    "payload.merchant_id",
    "payload.ip_address",
)
"""Where a payment names an entity of each kind."""
SLOTS: Final = 5
"""Degrees that are kept of an entity: one for every kind of neighbour that some kind has."""


class EdgeKind(NamedTuple):
    """An edge between two kinds; the slots say where each end keeps its degree towards the other."""

    name: str
    left: int
    right: int
    left_slot: int
    right_slot: int
    joins: bool
    """An identity edge: it makes components and carries fraud distance."""


EDGE_KINDS: Final = (
    EdgeKind("customer_card", CUSTOMER, CARD, 0, 0, joins=True),
    EdgeKind("customer_account", CUSTOMER, ACCOUNT, 1, 0, joins=True),
    EdgeKind("customer_device", CUSTOMER, DEVICE, 2, 0, joins=True),
    EdgeKind("customer_address", CUSTOMER, ADDRESS, 3, 0, joins=True),
    EdgeKind("customer_terminal", CUSTOMER, TERMINAL, 4, 0, joins=False),
    EdgeKind("terminal_merchant", TERMINAL, MERCHANT, 1, 0, joins=False),
)
IDENTITY: Final = (CUSTOMER, CARD, ACCOUNT, DEVICE, ADDRESS)
"""Kinds at the ends of identity edges."""
CUSTOMER_SLOT: Final = 0
"""Where everything but a customer keeps how many customers it has."""


def neighbour_slots(kind: int) -> dict[str, int]:
    """By kind of neighbour: the slot in which an entity of `kind` keeps that degree."""
    slots = {KINDS[edge.right]: edge.left_slot for edge in EDGE_KINDS if edge.left == kind}
    return slots | {KINDS[edge.left]: edge.right_slot for edge in EDGE_KINDS if edge.right == kind}
