from agent.admin.catalogue import CATALOGUE, Families
from agent.admin.state_metrics import state_metrics
from tests.harness.state_rig import StateRig


def test_all_figures_are_there_and_are_those_of_the_state(rig: StateRig) -> None:
    rig.ask("PUT", "/v1/kv/key", b"value")
    rig.ask("GET", "/v1/kv/key")
    rig.ask("GET", "/v1/kv/none")
    rig.json("POST", "/v1/locks/l", {"ttl": "10s"})

    def scrape() -> Families:
        families = Families()
        state_metrics(families, rig.api)
        return families

    found = {(sample.name, *sample.labels.values()): sample.value for metric in rig.run(scrape).metrics() for sample in metric.samples}
    names = {name for name, *_ in found}
    expected = {name for name in CATALOGUE if name.startswith("pilotfish_state_")}
    assert {name.removesuffix("_total") for name in names} == expected
    assert found[("pilotfish_state_requests_total", "GET /v1/kv/{name}")] == 2
    assert found[("pilotfish_state_errors_total", "not_found")] == 1
    assert found[("pilotfish_state_reads_total",)] == 2
    assert found[("pilotfish_state_keys",)] == found[("pilotfish_state_locks",)] == found[("pilotfish_state_revision",)] == 1
    assert found[("pilotfish_state_bytes",)] == 8 and found[("pilotfish_state_leases",)] == 2
