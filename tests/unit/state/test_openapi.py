from openapi_spec_validator import validate

from agent.state.handlers import router
from agent.state.openapi import DOCUMENT
from tests.harness.state_rig import StateRig


def test_the_document_is_openapi_and_has_every_operation() -> None:
    validate(DOCUMENT)
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    routed = {tuple(route.label.split(" ")) for methods in router().routes.values() for route in methods.values()}
    assert described == routed


def test_the_agent_gives_it(rig: StateRig) -> None:
    assert rig.json("GET", "/v1/openapi.json") == DOCUMENT
