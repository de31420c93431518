"""Made-up ITCH 5.0 messages, their framings, and what they mean by the plainest reading."""

import struct

import numpy as np

from marketdata.events import (
    ADD,
    ASK,
    BID,
    CLEAR,
    DELETE,
    EXECUTE,
    HIDDEN,
    NONE,
    REDUCE,
    STATUS,
    TRADE,
)  # fmt: skip

SYMBOLS = {"AAAA": 17, "BB": 400, "OTHER": 9}
"""Locate codes; OTHER is not asked for."""
SESSION = b"000010059B"


def head(kind: str, locate: int, ns: int) -> bytes:
    return struct.pack(">cHH", kind.encode(), locate, 3) + ns.to_bytes(6)


def name(stock: str) -> bytes:
    return stock.ljust(8).encode()


def system(ns: int, event: bytes = b"O") -> bytes:
    return head("S", 0, ns) + event


def directory(ns: int, stock: str, locate: int) -> bytes:
    return (
        head("R", locate, ns)
        + name(stock)
        + b"NN"
        + struct.pack(">I", 100)
        + b"NNZ PNN2N"
        + struct.pack(">I", 0)
        + b"N"
    )


def add(ns: int, stock: str, locate: int, ref: int, side: bytes, shares: int, price: int, mpid: bytes = b"") -> bytes:
    kind = "F" if mpid else "A"
    return (
        head(kind, locate, ns) + struct.pack(">QcI", ref, side, shares) + name(stock) + struct.pack(">I", price) + mpid
    )


def random_session(count: int, seed: int) -> tuple[list[bytes], list[tuple[int, ...]]]:
    """Messages from the first of a session on, and the rows they mean: (ns, action, side, price, lots, order, symbol)."""
    rng = np.random.default_rng(seed)
    ns, messages, rows = 1_000, [system(1_000)], []
    for stock, locate in SYMBOLS.items():
        messages.append(directory(ns, stock, locate))
        if stock != "OTHER":
            rows.append((ns, CLEAR, NONE, 0, 0, 0, stock))
    live: dict[int, list[object]] = {}
    ref = 1
    while len(messages) < count:
        ns += int(rng.integers(1, 1_000_000))
        stock = str(rng.choice(list(SYMBOLS)))
        locate = SYMBOLS[stock]
        kind = str(rng.choice(list("AAAAFECXDUPQHYB")))
        price, shares = int(rng.integers(9_000, 11_000)), int(rng.integers(1, 20)) * 10
        mine = [key for key, order in live.items() if order[3] == stock]
        said: list[tuple[int, ...]] = []
        if kind in "AF":
            side = BID if rng.random() < 0.5 else ASK
            messages.append(
                add(
                    ns,
                    stock,
                    locate,
                    ref,
                    b"B" if side == BID else b"S",
                    shares,
                    price,
                    b"MMMM" if kind == "F" else b"",
                )
            )
            live[ref] = [price, shares, side, stock]
            said = [(ADD, side, price, shares, ref)]
            ref += 3
        elif kind in "ECXDU":
            if not mine:
                continue
            key = int(rng.choice(mine))
            at, there, side, _ = live[key]
            some = int(rng.integers(1, there + 1))
            gone = some == there
            less = (DELETE if gone else REDUCE, side, at, some, key)
            if kind == "E":
                messages.append(head("E", locate, ns) + struct.pack(">QIQ", key, some, 5))
                said = [(EXECUTE, side, at, some, key)]
            elif kind == "C":
                paid, printable = int(rng.choice([at, at + 1])), bool(rng.random() < 0.7)
                messages.append(
                    head("C", locate, ns) + struct.pack(">QIQcI", key, some, 5, b"Y" if printable else b"N", paid)
                )
                if printable and paid == at:
                    said = [(EXECUTE, side, at, some, key)]
                else:
                    said = [less, *([(TRADE, side, paid, some, key)] if printable else [])]
            elif kind == "X":
                messages.append(head("X", locate, ns) + struct.pack(">QI", key, some))
                said = [less]
            else:
                gone = True
                said = [(DELETE, side, at, there, key)]
                if kind == "D":
                    messages.append(head("D", locate, ns) + struct.pack(">Q", key))
                else:
                    messages.append(head("U", locate, ns) + struct.pack(">QQII", key, ref, shares, price))
                    said.append((ADD, side, price, shares, ref))
                    live[ref] = [price, shares, side, stock]
                    ref += 3
            if gone:
                del live[key]
            else:
                live[key][1] = there - some
        elif kind == "P":
            messages.append(
                head("P", locate, ns)
                + struct.pack(">QcI", 0, b"B", shares)
                + name(stock)
                + struct.pack(">IQ", price, 8)
            )
            said = [(HIDDEN, NONE, price, shares, 0)]
        elif kind == "Q":
            size = shares * int(rng.integers(0, 2))
            messages.append(
                head("Q", locate, ns) + struct.pack(">Q", size) + name(stock) + struct.pack(">IQc", price, 8, b"O")
            )
            said = [(TRADE, NONE, price, size, 0)] if size else []
        elif kind == "H":
            state = bytes(rng.choice([b"T", b"H", b"P", b"Q"]))
            messages.append(head("H", locate, ns) + name(stock) + state + b" " + b"    ")
            said = [(STATUS, NONE, 0, int(state == b"T"), 0)]
        elif kind == "Y":
            messages.append(head("Y", locate, ns) + name(stock) + b"0")
        else:
            messages.append(head("B", locate, ns) + struct.pack(">Q", 5))
        if stock != "OTHER":
            rows += [(ns, *row, stock) for row in said]
    return messages, rows


def mold(number: int, messages: list[bytes], session: bytes = SESSION) -> bytes:
    blocks = b"".join(struct.pack(">H", len(message)) + message for message in messages)
    return session + struct.pack(">QH", number, len(messages)) + blocks


def mold_packets(messages: list[bytes], seed: int) -> list[bytes]:
    rng = np.random.default_rng(seed)
    packets, at = [], 0
    while at < len(messages):
        take = int(rng.integers(0, 6))
        packets.append(mold(at + 1, messages[at : at + take]))  # none: a heartbeat
        at += take
    return packets


def soup(kind: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">H", len(payload) + 1) + kind + payload


def soup_login(number: int) -> bytes:
    return soup(b"A", SESSION + str(number).rjust(20).encode())


def pcap(payloads: list[bytes], ts_ns: int, *, nano: bool = True, vlan: bool = True, big: bool = False) -> bytes:
    order = ">" if big else "<"
    unit = 1 if nano else 1_000
    out = struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)
    for k, payload in enumerate(payloads):
        udp = struct.pack(">HHHH", 1_000, 26_477, 8 + len(payload), 0) + payload
        addresses = bytes((10, 0, 0, 1)), bytes((233, 54, 12, 111))
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0x4000, 20, 17, 0, *addresses) + udp
        tag = struct.pack(">HH", 0x8100, 141) if vlan else b""
        packet = b"\x01" * 12 + tag + struct.pack(">H", 0x0800) + ip
        ts = ts_ns + k * 1_000
        out += struct.pack(order + "IIII", ts // 10**9, ts % 10**9 // unit, len(packet), len(packet)) + packet
    return out
