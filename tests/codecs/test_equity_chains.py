"""US option chains and tweets in the slow form: what is missing is null, closed days are dropped, times are when it was known."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from marketdata.clock import NS_PER_MINUTE, to_ns
from marketdata.codecs.equity_chains import CBOE, SPX, YAHOO, find_files, read_chain
from marketdata.codecs.tables import SourceError
from marketdata.codecs.tweets import read_tweets
from marketdata.slow_data import SLOW_SCHEMAS


def _write(folder: Path, name: str, schema: dict[str, pl.DataType], rows: list[str]) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([",".join(schema), *rows]) + "\n", encoding="utf-8")
    return path


def test_yahoos_rows_have_eastern_times_a_capped_volatility_is_missing_and_saturdays_are_dropped(
    tmp_path: Path,
) -> None:
    rows = [
        "2026-04-17,2026-04-17T18:30:00.5,MSTR,150,2026-04-24,call,150.0,2.5,10.0,100,0.6,0.5,0.1",
        "2026-04-17,2026-04-17T18:30:00.5,MSTR,150,2026-04-24,put,100.0,0.5,,,5.0,,0.0",
        "2026-04-18,2026-04-18T18:30:00.5,MSTR,150,2026-04-24,call,150.0,2.5,10.0,100,0.6,0.5,0.1",
    ]
    path = _write(tmp_path, "options/mstr_tsla_daily/MSTR_chain_x.csv", YAHOO, rows)
    assert find_files([tmp_path], "MSTR") == [path]
    frame = read_chain(path)
    assert frame.columns == list(SLOW_SCHEMAS["options"])
    put, call = frame.sort("is_call").rows(named=True)
    assert call["ts_snapshot"] == to_ns(datetime(2026, 4, 17, 22, 30, 0, 500_000, UTC))
    assert call["ts_known"] - call["ts_snapshot"] == NS_PER_MINUTE
    assert call["expiry_ns"] == to_ns(datetime(2026, 4, 24, 20, 0, tzinfo=UTC))
    assert call["volume_usd"] == pytest.approx(2.5 * 10 * 100)
    assert (put["iv"], put["delta"], put["volume"], put["open_interest"]) == (None, None, 0.0, 0.0)


def test_cboes_day_is_known_a_quarter_of_an_hour_after_the_close_and_a_holiday_is_dropped(tmp_path: Path) -> None:
    rows = [
        "SPX,2800,CBOE,SPXW190531C02800000,call,05/31/2019,05/24/2019,2800,10,0,9,11,5,7,0.15,0.5,0.01",
        "SPX,2800,CBOE,SPXW190531C02800000,call,05/31/2019,05/27/2019,2800,10,0,9,11,5,7,0.15,0.5,0.01",
    ]
    frame = read_chain(_write(tmp_path, "options/spx_cboe_2019/SPX_chain_x.csv", CBOE, rows))
    (row,) = frame.rows(named=True)
    assert row["ts_known"] == to_ns(datetime(2019, 5, 24, 20, 15, tzinfo=UTC))
    assert (row["mark"], row["volume_usd"], row["iv"]) == (10.0, 5_000.0, 0.15)


def test_two_series_that_share_expiry_and_strike_stay_two_contracts(tmp_path: Path) -> None:
    row = "2026-03-02,2026-03-02T21:44:38.7,6876,2026-03-20,Call,7000,10,12,11,{},3,8,18,{},0,0,0,0"
    path = _write(tmp_path, "options/spx_daily_2026/SPX_chain_x.csv", SPX, [row.format(0.2, 0.4), row.format(0, 0)])
    frame = read_chain(path)
    assert frame["contract"].n_unique() == 2
    assert frame.sort("contract")["iv"].to_list() == [0.2, None]
    assert frame.sort("contract")["delta"].to_list() == [0.4, None]


def test_a_wrong_type_and_a_missing_file_are_named(tmp_path: Path) -> None:
    bad = "2026-04-17,2026-04-17T18:30:00.5,MSTR,150,2026-04-24,swap,150.0,2.5,10.0,100,0.6,0.5,0.1"
    path = _write(tmp_path, "options/mstr_tsla_daily/MSTR_chain_x.csv", YAHOO, [bad])
    with pytest.raises(SourceError, match="row 1, field type: 'swap' is neither call nor put"):
        read_chain(path)
    with pytest.raises(SourceError, match="no such file"):
        find_files([tmp_path], "TSLA")


def test_tweets_are_known_after_a_poll_and_weigh_the_same(tmp_path: Path) -> None:
    path = tmp_path / "tweets.csv"
    path.write_text('Date,Tweet,Stock Name,Company Name\n2022-06-30 23:44:39+00:00,tesla up,TSLA,"Tesla, Inc."\n')
    (row,) = read_tweets(path).rows(named=True)
    assert row["ts_posted"] == to_ns(datetime(2022, 6, 30, 23, 44, 39, tzinfo=UTC))
    assert row["ts_known"] - row["ts_posted"] == 15 * NS_PER_MINUTE
    assert (row["symbol"], row["votes"], row["text"]) == ("TSLA", 0, "tesla up")
