"""What /metrics says, counted by hand."""

from meter.gateway.measuring import Measures


def noted(measures: Measures, seconds: float, **more: object) -> None:
    given = {
        "endpoint": "chat", "upstream": "openai", "status": 200, "outcome": "completed",
        "first_byte_seconds": None, **more,
    }  # fmt: skip
    measures.note(seconds=seconds, **given)


def lines(measures: Measures) -> list[str]:
    return measures.page().decode().splitlines()


def test_nothing_is_told_of_what_did_not_happen():
    page = lines(Measures())
    assert "meter_gateway_in_flight 0.0" in page
    assert not [line for line in page if line.startswith("meter_gateway_requests_total{")]


def test_requests_and_outcomes_are_counted_by_their_labels():
    measures = Measures()
    noted(measures, 0.1)
    noted(measures, 0.1)
    noted(measures, 0.1, status=429, outcome="refused")
    noted(measures, 0.1, status=404, outcome=None, endpoint="none", upstream="none")
    measures.in_flight += 3
    page = lines(measures)
    name = "meter_gateway_requests_total"
    assert f'{name}{{endpoint="chat",status="200",upstream="openai"}} 2.0' in page
    assert f'{name}{{endpoint="chat",status="429",upstream="openai"}} 1.0' in page
    assert f'{name}{{endpoint="none",status="404",upstream="none"}} 1.0' in page
    assert 'meter_gateway_calls_total{outcome="completed"} 2.0' in page
    assert 'meter_gateway_calls_total{outcome="refused"} 1.0' in page
    assert "meter_gateway_in_flight 3.0" in page


def test_times_are_counted_in_every_bucket_that_they_are_not_above():
    measures = Measures()
    # On the bound of a bucket, within one, and above all of them.
    for seconds in (0.005, 0.3, 500.0):
        noted(measures, seconds)
    page = lines(measures)
    name, chat = "gen_ai_server_request_duration_seconds", 'gen_ai_operation_name="chat"'
    for bound, count in (("0.005", 1), ("0.25", 1), ("0.5", 2), ("300.0", 2), ("+Inf", 3)):
        assert f'{name}_bucket{{{chat},le="{bound}"}} {count}.0' in page
    assert f"{name}_count{{{chat}}} 3.0" in page
    assert f"{name}_sum{{{chat}}} 500.305" in page
    first = "gen_ai_server_time_to_first_token_seconds"
    assert not [line for line in page if line.startswith(f"{first}_b")]
    noted(measures, 1.0, first_byte_seconds=0.02)
    assert f'{first}_bucket{{{chat},le="0.025"}} 1.0' in lines(measures)
