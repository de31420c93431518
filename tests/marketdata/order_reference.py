"""The rules of the matching engine once more, short and slow: a list of orders, sorted whenever somebody asks."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from marketdata import order_messages as m
from marketdata.order_book import SELF_CANCELLED, SELF_REDUCED, TRADE
from marketdata.order_index import PRICE_LIMIT


class Message(NamedTuple):
    """One message in plain numbers; sides are 1 and -1."""

    action: int
    order_id: int = 0
    side: int = 1
    price: int = 0
    lots: int = 0
    kind: int = m.GTC
    owner: int = 0
    policy: int = m.STP_NONE


def to_array(messages: list[Message]) -> np.ndarray:
    """Return messages in the engine's form."""
    array = np.zeros(len(messages), m.MESSAGE_DTYPE)
    names = ("action", "order_id", "side", "price_units", "size_lots", "kind", "owner", "policy")
    for name, values in zip(names, zip(*messages, strict=True), strict=True) if messages else ():
        array[name] = values
    return array


@dataclass
class Reference:
    """Resting orders as [id, side, price, lots, owner] in order of arrival; fills as (maker, price, lots, maker left, kind)."""

    orders: list[list[int]] = field(default_factory=list)
    fills: list[tuple[int, int, int, int, int]] = field(default_factory=list)

    def facing(self, side: int, price: int) -> list[list[int]]:
        found = [o for o in self.orders if o[1] != side and side * (o[2] - price) <= 0]
        return sorted(found, key=lambda o: side * o[2])

    def take(self, side: int, price: int, lots: int, owner: int, policy: int) -> tuple[int, int]:
        prevented = 0
        for order in self.facing(side, price):
            if lots == 0:
                break
            size, kind = min(lots, order[3]), TRADE
            if owner and order[4] == owner and policy != m.STP_NONE:
                lost = size if policy == m.STP_DECREMENT else 0 if policy == m.STP_CANCEL_OLDEST else lots
                prevented, lots = prevented + lost, lots - lost
                if policy == m.STP_CANCEL_NEWEST:
                    break
                size = size if policy == m.STP_DECREMENT else order[3]
                kind = SELF_CANCELLED if size == order[3] else SELF_REDUCED
            else:
                lots -= size
            order[3] -= size
            self.fills.append((order[0], order[2], size, order[3], kind))
        self.orders = [o for o in self.orders if o[3] > 0]
        return lots, prevented

    def fillable(self, side: int, price: int, lots: int, owner: int, policy: int) -> bool:
        for order in self.facing(side, price):
            if policy == m.STP_NONE or owner == 0 or order[4] != owner:
                lots -= order[3]
            elif policy != m.STP_CANCEL_OLDEST:
                break
            if lots <= 0:
                break
        return lots <= 0

    def handle(self, x: Message) -> tuple[int, int]:
        self.fills = []
        order = next((o for o in self.orders if o[0] == x.order_id), None)
        price = x.side * PRICE_LIMIT if x.action == m.MARKET else x.price
        if x.action in (m.CANCEL, m.REDUCE, m.MODIFY):
            if order is None:
                return m.REJECTED_UNKNOWN, 0 if x.action == m.CANCEL else x.lots
            if x.action == m.CANCEL or (x.action == m.REDUCE and x.lots >= order[3]):
                self.orders.remove(order)
                return m.CANCELLED, order[3]
            if x.lots <= 0:
                return m.REJECTED_SIZE, x.lots if x.action == m.REDUCE else order[3]
            if x.action == m.REDUCE or (x.price == order[2] and x.lots <= order[3]):
                order[3] = order[3] - x.lots if x.action == m.REDUCE else x.lots
                return m.RESTED, order[3]
            if x.kind == m.POST_ONLY and self.facing(order[1], x.price):
                return m.REJECTED_POST_ONLY, order[3]
            self.orders.remove(order)
            x = x._replace(side=order[1], owner=order[4])
        elif x.lots <= 0:
            return m.REJECTED_SIZE, x.lots
        elif order is not None or (x.order_id == 0 and x.action == m.NEW and x.kind in (m.GTC, m.POST_ONLY)):
            return m.REJECTED_DUPLICATE, x.lots
        elif x.action == m.NEW and x.kind == m.POST_ONLY and self.facing(x.side, price):
            return m.REJECTED_POST_ONLY, x.lots
        elif x.action == m.NEW and x.kind == m.FOK and not self.fillable(x.side, price, x.lots, x.owner, x.policy):
            return m.CANCELLED, x.lots
        left, prevented = self.take(x.side, price, x.lots, x.owner, x.policy)
        if left == 0:
            return (m.DONE, 0) if prevented == 0 else (m.CANCELLED_SELF, prevented)
        if x.action == m.MARKET or (x.action == m.NEW and x.kind in (m.IOC, m.FOK)):
            return m.CANCELLED, left
        self.orders.append([x.order_id, x.side, price, left, x.owner])
        return m.RESTED, left
