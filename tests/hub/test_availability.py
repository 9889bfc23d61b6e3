"""What says that the Hub is away, and for how long: not what it refuses, and not longer than it asks for."""

import time

import pytest
from datasets.exceptions import DatasetNotFoundError
from hub_server import HubServer
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError

from lmeff.hub import availability


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch):
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(availability, "_away", {})
        yield server


def ask(hub: HubServer) -> None:
    with availability.asked_once():
        HfApi(endpoint=hub.url, token=False).dataset_info("ewok/gated")


def ask_as_datasets_does(hub: HubServer) -> None:
    with availability.asked_once():
        try:
            HfApi(endpoint=hub.url, token=False).dataset_info("ewok/gated")
        except GatedRepoError as error:
            raise DatasetNotFoundError("Dataset 'ewok/gated' is a gated dataset on the Hub.") from error


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository_says_nothing_of_others(hub: HubServer, status: int) -> None:
    with hub.fault("GET .*", "status", status=status, headers={"X-Error-Code": "GatedRepo"}):
        with pytest.raises(Exception, match=str(status)):
            ask(hub)
        assert availability.known_away() is None
        with pytest.raises(DatasetNotFoundError):
            ask_as_datasets_does(hub)
        assert availability.known_away() is None


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (503, {"RateLimit": '"api";r=900;t=240'}, 30),
        (503, {"Retry-After": "7"}, 8),
        (429, {"RateLimit": '"api";r=0;t=20', "Retry-After": "3"}, 21),
        (429, {"RateLimit": '"api";r=900;t=240, "pages";r=0;t=20'}, 21),
        (429, {"RateLimit": '"api";r=900;t=240', "Retry-After": "3"}, 4),
    ],
)
def test_a_hub_in_trouble_is_left_alone_for_as_long_as_it_asks(
    hub: HubServer, status: int, headers: dict[str, str], seconds: float
) -> None:
    with hub.fault("GET .*", "status", status=status, headers=headers), pytest.raises(Exception, match=str(status)):
        ask(hub)
    ((why, until),) = availability._away.items()
    assert why == f"the Hub answers {status}"
    assert until - time.monotonic() == pytest.approx(seconds, abs=3)


def test_a_hub_that_cannot_be_reached_is_left_alone_for_minutes(hub: HubServer) -> None:
    hub.stop()
    with pytest.raises(Exception, match="offline mode"):
        ask(hub)
    ((_, until),) = availability._away.items()
    assert until - time.monotonic() == pytest.approx(300, abs=10)
