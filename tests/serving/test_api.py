"""The API: strict rows in, the champion's forecasts out, a reason with every refusal."""

import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from marketdata.paths import DataRoot
from models.bundle import BundlePredictor
from models.decisions import DecisionLedger
from serving.api import create_app
from serving.heartbeat import write_heartbeat
from tests.serving.conftest import World


@pytest.fixture(scope="session")
def client(world: World, champion_root: DataRoot) -> TestClient:
    return TestClient(create_app(champion_root, world.settings))


@pytest.fixture
def rows(world: World) -> list[dict[str, Any]]:
    """The last 20 rows of the test session as a caller sends them."""
    symbols = {item.instrument_id: item.symbol for item in world.settings.instruments}
    return [
        {
            "instrument": symbols[int(world.dataset.instrument_id[n])],
            "ts_recv": int(world.dataset.ts_recv[n]),
            "features": [None if np.isnan(v) else float(v) for v in world.dataset.x[n]],
        }
        for n in world.test[-20:]
    ]


def refusal(client: TestClient, body: Any, status: int = 422) -> str:
    text = body if isinstance(body, str) else json.dumps(body)
    answer = client.post("/v1/predict", content=text, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"detail"}
    return str(answer.json()["detail"])


def test_before_any_champion_it_answers_503_with_the_reason(
    world: World, fresh_root: DataRoot, rows: list[dict[str, Any]]
) -> None:
    client = TestClient(create_app(fresh_root))
    assert client.get("/health").json()["champion"] is None
    assert client.get("/health").status_code == 200
    assert "no decision was taken yet" in client.get("/v1/champion").json()["detail"]
    assert client.get("/v1/champion").status_code == 503
    assert "no decision was taken yet" in refusal(client, {"rows": rows}, 503)


def test_the_champion_is_described(client: TestClient, world: World) -> None:
    found = client.get("/v1/champion").json()
    assert (found["model"], found["version"]) == ("linear", world.bundle.sha256)
    assert found["columns"] == list(world.dataset.columns)
    assert found["instruments"] == ["ALFA", "BRAVO", "CHARLIE"]


def test_predictions_equal_the_bundle_bit_for_bit(client: TestClient, world: World, rows: list[dict[str, Any]]) -> None:
    answer = client.post("/v1/predict", json={"rows": rows, "fingerprint": world.bundle.manifest.fingerprint})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model"], body["version"], body["horizon_ns"]) == ("linear", world.bundle.sha256, 10 * 10**9)
    predictor = BundlePredictor(world.bundle)
    last = world.test[-20:]
    _, p, edge = predictor.step_rows(
        predictor.init(), world.dataset.instrument_id[last], world.dataset.ts_recv[last], world.dataset.x[last]
    )
    made = np.array([[r["p_down"], r["p_flat"], r["p_up"]] for r in body["predictions"]], np.float32)
    assert np.array_equal(made, p)
    assert np.array_equal(np.array([r["edge_units"] for r in body["predictions"]], np.float32), edge)


def test_wrong_shapes_are_refused_with_the_place(client: TestClient, rows: list[dict[str, Any]]) -> None:
    rows[3]["features"] = rows[3]["features"][:-1]
    width = len(rows[0]["features"])
    assert refusal(client, {"rows": rows}) == f"rows.3.features: {width} features expected, {width - 1} given"
    assert "rows" in refusal(client, {"rows": []})
    assert "rows" in refusal(client, {})
    assert "valid dictionary" in refusal(client, [1, 2])
    assert "JSON" in refusal(client, "{not json")
    rows[3]["features"] = "text"
    assert "rows.3.features" in refusal(client, {"rows": rows})


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e39", '"1.0"', "true"])
def test_what_is_no_finite_number_is_refused(client: TestClient, rows: list[dict[str, Any]], value: str) -> None:
    rows[1]["features"][4] = 12345.5
    text = json.dumps({"rows": rows}).replace("12345.5", value)
    assert "rows.1.features.4" in refusal(client, text)


def test_an_unknown_value_is_taken_only_where_a_value_can_be_unknown(
    client: TestClient, world: World, rows: list[dict[str, Any]]
) -> None:
    nullable = set(client.get("/v1/champion").json()["may_be_null"])
    columns = world.dataset.columns
    free = next(k for k, name in enumerate(columns) if name in nullable)
    fixed = next(k for k, name in enumerate(columns) if name not in nullable)
    rows[0]["features"][free] = None
    assert client.post("/v1/predict", json={"rows": rows}).status_code == 200
    rows[0]["features"][fixed] = None
    assert refusal(client, {"rows": rows}) == f"rows.0.features.{fixed} ({columns[fixed]}): must be known"


def test_unknown_instruments_orders_fields_and_features_are_refused(
    client: TestClient, rows: list[dict[str, Any]]
) -> None:
    assert "unknown instrument 'ZULU'; known: ALFA" in refusal(client, {"rows": [{**rows[0], "instrument": "ZULU"}]})
    assert "order of time" in refusal(client, {"rows": [rows[5], rows[0]]})
    assert "extra" in refusal(client, {"rows": rows, "model": "linear"}).lower()
    assert "fingerprint" in refusal(client, {"rows": rows, "fingerprint": "0" * 64})
    assert str(client.post("/v1/predict", content="x" * (5 * 2**20)).status_code) == "413"


def test_other_hosts_are_refused(client: TestClient) -> None:
    assert client.get("/health", headers={"host": "evil.example"}).status_code == 400


def test_health_shows_the_executor(client: TestClient, champion_root: DataRoot) -> None:
    write_heartbeat(champion_root, {"mode": "paper", "equity": 100_000.0})
    found = client.get("/health").json()
    assert found["champion"] == "linear"
    assert found["executor"]["alive"]
    assert found["executor"]["equity"] == 100_000.0


def test_a_rollback_is_seen_by_the_next_request(world: World, champion_root: DataRoot) -> None:
    client = TestClient(create_app(champion_root, world.settings))
    assert client.get("/v1/champion").status_code == 200
    ledger = DecisionLedger(champion_root)
    try:
        ledger.rollback(10**18, by="tester", why="drill", to_nobody=True)
        assert client.get("/v1/champion").status_code == 503
    finally:
        ledger.promote("linear", world.bundle.sha256, 10**18 + 1, by="tester", why="drill over")
    assert client.get("/v1/champion").status_code == 200


def test_the_page_of_the_api_loads_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.url.path == "/docs"
    assert "http" not in answer.text.replace("https://", "http").split("<script>")[0]
    assert client.get("/openapi.json").json()["paths"].keys() == {"/health", "/v1/champion", "/v1/predict"}
