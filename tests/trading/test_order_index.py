"""The index of orders finds what a dictionary finds, whatever came and went before."""

import numpy as np

from trading.order_ids import empty_index, index_forget, index_of, index_put

ORDERS = 24


def test_the_index_finds_what_a_dictionary_finds_while_it_is_half_full() -> None:
    rng = np.random.default_rng(3)
    index, known, number = empty_index(ORDERS), {}, 0
    for _ in range(4_000):
        if len(known) < ORDERS and rng.random() < 0.6:
            number += int(rng.integers(1, 5))
            known[number] = int(rng.integers(0, ORDERS))
            index_put(index, number, known[number])
        elif known:
            gone = int(rng.choice(list(known)))
            del known[gone]
            index_forget(index, gone)
        asked = int(rng.integers(1, number + 2))
        assert index_of(index, asked) == known.get(asked, -1)
    assert len(index) >= 2 * ORDERS
    assert all(index_of(index, one) == row for one, row in known.items())
    assert np.count_nonzero(index[:, 0]) == len(known)


def test_there_is_room_for_twice_the_orders_and_a_power_of_two_of_it() -> None:
    for orders, room in ((1, 2), (2, 4), (3, 8), (64, 128), (80, 256), (129, 512)):
        assert empty_index(orders).shape == (room, 2)
