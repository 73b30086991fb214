"""What the service answers to the Hub's process about its spawn form: to nobody else, once, and in words."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from launcher.builds import BuildLogs, BuildQueue
from launcher.errors import BuildFailed, HubUnavailable
from launcher.hub.ask import Asker, Refused
from launcher.hub.redeem import redeem
from launcher.models import BuildStatus, LaunchPlan, MachineSize, Person, Username
from launcher.policy.environments import ListedEnvironment, ListedEnvironments
from launcher.policy.sizes import MachineSizes
from launcher.policy.trust import TrustPolicy
from launcher.sealed import ASK_PATH, Once, SealedTalk
from launcher.sessions.flights import Flights
from launcher.sessions.new_session import NewSession
from launcher.sessions.parts import LaunchParts
from launcher.sessions.session_offer import RegularSessions
from launcher.sessions.spawn_starts import SpawnStarts
from launcher.sources import RepositorySources, SourcesConfig
from launcher.store import BuildFilter, Store
from launcher.tickets import TicketSigner, new_secret
from launcher.web.spawn_form import SpawnFormParts, sealed_routes
from launcher.web.words import Languages
from tests.support.gated_builder import GatedBuilder
from tests.support.git_server import GitServer, make_repository

PREFIX = "/services/binder/"
SECRET = new_secret()
ANA = Person(Username("ana"), groups=frozenset({"staff"}))
BOB = Person(Username("bob"))


@dataclass
class Service:
    """The real handlers and what is behind them, with builds that end when the test says so."""

    url: str
    parts: SpawnFormParts
    builder: GatedBuilder
    store: Store

    def asker(self, person: Person = ANA, server_name: str = "", secret: str = SECRET) -> Asker:
        return Asker(self.url, SealedTalk(secret), person, server_name)

    async def ask(self, purpose: str, body: dict[str, Any], person: Person = ANA, server_name: str = "") -> Any:
        return await self.asker(person, server_name).ask(purpose, body, seconds=20)

    async def send(self, purpose: str, token: bytes) -> HTTPResponse:
        address = self.url + ASK_PATH + purpose
        return await AsyncHTTPClient().fetch(address, method="POST", body=token, raise_error=False)

    async def plan(self, options: dict[str, str], person: Person = ANA, start: str = "1") -> tuple[list[Any], Any]:
        """Everything that is said, and the plan."""
        said: list[Any] = []
        while True:
            news = await self.ask("plan", {"options": options, "start": start, "after": len(said)}, person)
            said += news["said"]
            if news["plan"] is not None:
                return said, LaunchPlan.from_json(news["plan"])


@asynccontextmanager
async def serving(handlers: list[Any]) -> AsyncIterator[str]:
    """The URL of the service with these handlers."""
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(Application(handlers))
    server.add_sockets(sockets)
    try:
        yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}{PREFIX}"
    finally:
        server.stop()
        await server.close_all_connections()


@pytest.fixture(scope="module")
def git_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    with GitServer(tmp_path_factory.mktemp("git")) as server:
        yield server


@pytest.fixture
async def service(tmp_path: Path, git_server: GitServer) -> AsyncIterator[Service]:
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    (trusted / "requirements.txt").write_text("geo==1\n")
    (tmp_path / "artefacts").mkdir()
    builder = GatedBuilder(tmp_path / "artefacts", gate_open=True)
    store = Store.open(f"sqlite:///{tmp_path}/launcher.sqlite")
    builds = BuildQueue(store, builder, BuildLogs(tmp_path / "logs"))
    await builds.start()
    sources = RepositorySources(
        SourcesConfig(
            cache_directory=tmp_path / "cache", local_directories=(trusted,), allow_hosts=frozenset({git_server.host})
        )
    )
    sizes = MachineSizes(
        (MachineSize("small", "Small", memory_bytes=2**30), MachineSize("big", "Big", groups=("staff",)))
    )
    made = LaunchParts(
        sources, builder, builds, store, TrustPolicy(), TicketSigner(SECRET), "http://127.0.0.1:9/", sizes=sizes
    )
    listed = f"local/{quote(str(trusted), safe='')}/worktree"
    environments = (
        ListedEnvironment("geo", "Geospatial <tools>", repository=listed),
        ListedEnvironment("secret", "For the staff", repository=listed, groups=("staff",)),
        ListedEnvironment("standard", "Last year's", repository=listed),
    )
    session = NewSession(made, Flights(builds), RegularSessions(listed=ListedEnvironments(environments)))
    starts = SpawnStarts(builds)
    parts = SpawnFormParts(SealedTalk(SECRET), Once(), session, starts, Languages(), PREFIX)
    async with serving(sealed_routes(parts)) as url:
        yield Service(url, parts, builder, store)
    starts.close()
    await builds.stop()
    store.close()


async def test_the_form_offers_what_the_person_may_choose_and_shows_text_as_text(service: Service) -> None:
    hers, his = [(await service.ask("form", {}, person))["html"] for person in (ANA, BOB)]
    assert "Geospatial &lt;tools&gt;" in hers
    assert ("For the staff" in hers, "For the staff" in his) == (True, False)
    ids = re.findall(r'\sid="([^"]+)"', hers)
    assert len(ids) == len(set(ids)), "a label that two fields answer to chooses the wrong one"
    assert 'name="trust"' not in hers, "whether she herself fills it in is not known here"


async def test_the_form_keeps_what_was_typed_beside_what_is_wrong_with_it(service: Service) -> None:
    options = {"environment": "repository", "environment_spec": '"><script>alert(1)</script>', "files_spec": "gh/o/r"}
    problem = {"field": "environment_spec", "code": "spec_invalid", "message": "It is <no> repository.", "hint": ""}
    html = (await service.ask("form", {"options": options, "problem": problem}))["html"]
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "It is &lt;no&gt; repository." in html
    assert 'value="gh/o/r"' in html
    assert re.search(r'value="repository" checked', html)


async def test_a_plan_is_for_the_person_and_the_server_that_the_hub_asked_for(service: Service) -> None:
    body = {"options": {"size": "big"}, "start": "1", "after": 0}
    plan = LaunchPlan.from_json((await service.ask("plan", body, ANA, "second"))["plan"])
    assert (plan.user, plan.server_name, plan.environment) == ("ana", "second", None)
    assert plan.size is not None
    assert plan.size.name == "big"


async def test_an_environment_is_built_on_the_way_and_its_build_can_be_looked_at(service: Service) -> None:
    said, plan = await service.plan({"environment": "listed:geo"})
    assert plan.environment is not None
    assert plan.environment.startswith("env-")
    (build,) = service.store.builds_page(BuildFilter((BuildStatus.SUCCEEDED,)), limit=5)
    assert {line["href"] for line in said if "href" in line} == {f"{PREFIX}builds/{build.id}"}
    assert [line for line in said if line["text"].startswith("building ")]
    assert build.asked_by == "ana"


async def test_what_was_said_is_said_again_to_a_hub_that_missed_it(service: Service) -> None:
    body = {"options": {"environment": "listed:geo"}, "start": "1"}
    service.builder._open = False
    await service.ask("check", body)
    await service.builder.until_started(1)
    first = await service.ask("plan", {**body, "after": 0})
    again = await service.ask("plan", {**body, "after": 0})
    assert first["said"]
    assert again["said"][: len(first["said"])] == first["said"]
    assert len(service.builder.started) == 1


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"environment": "listed:nothing"}, "environment"),
        ({"environment": "nonsense"}, "environment"),
        ({"environment": "recent:" + "0" * 64}, "environment"),
        ({"environment": "image", "image": "quay.io/x/y"}, "environment"),
        ({"environment": "repository", "environment_spec": "no repository at all"}, "environment_spec"),
        ({"files_spec": "nothing/like/this"}, "files_spec"),
        ({"size": "huge"}, "size"),
    ],
)
@pytest.mark.parametrize("purpose", ["check", "plan"])
async def test_a_bad_choice_is_refused_at_its_field(
    service: Service, purpose: str, options: dict[str, str], field: str
) -> None:
    with pytest.raises(Refused) as refused:
        await service.ask(purpose, {"options": options, "start": "1", "after": 0})
    assert refused.value.told["field"] == field
    assert refused.value.told["message"]
    assert 400 <= refused.value.told["status"] < 500, "the Hub counts other failures, and ends itself after some"
    assert not service.builder.started


async def test_what_is_for_other_groups_is_not_to_be_had(service: Service) -> None:
    for options in ({"environment": "listed:secret"}, {"size": "big"}):
        with pytest.raises(Refused):
            await service.ask("check", {"options": options, "start": str(options)}, BOB)
        assert await service.ask("check", {"options": options, "start": str(options)}, ANA) == {}


async def test_nobody_trusts_a_strangers_repository_by_an_option(service: Service, git_server: GitServer) -> None:
    make_repository(git_server.directory / "unknown.git", {"requirements.txt": "x"})
    spec = git_server.url("unknown.git")
    options = {"environment": "repository", "environment_spec": spec, "trust": "yes"}
    for purpose in ("check", "plan"):
        with pytest.raises(Refused) as refused:
            await service.ask(purpose, {"options": options, "start": "1", "after": 0})
        assert refused.value.told["code"] == "confirmation_required"
        assert refused.value.told["link"]["href"] == f"{PREFIX}new"
    assert not list(service.store.list_trusted("ana"))
    assert not service.builder.started


async def test_a_build_that_fails_is_told_with_the_way_to_its_log(service: Service) -> None:
    service.builder._open = False
    body = {"options": {"environment": "listed:geo"}, "start": "1"}
    await service.ask("check", body)
    await service.builder.until_started(1)
    (key,) = service.builder._gates
    service.builder.endings[key] = BuildFailed("geo==9 is nowhere.", hint="Correct <requirements.txt>.")
    service.builder.gate(key).set()
    with pytest.raises(Refused) as refused:
        await service.plan(body["options"])  # type: ignore[arg-type]
    told = refused.value.told
    assert (told["message"], told["hint"]) == ("geo==9 is nowhere.", "Correct <requirements.txt>.")
    assert told["link"]["href"] == f"{PREFIX}builds/{service.builder.started[0]}"


async def test_a_question_that_the_hub_did_not_make_is_not_answered(service: Service) -> None:
    _, token = SealedTalk(new_secret()).ask("form", ANA, "", {})
    for wrong in (token, b"", b'{"for": "form"}'):
        answer = await service.send("form", wrong)
        assert answer.code == 403
        assert b"Geospatial" not in answer.body


async def test_a_question_is_answered_for_its_own_purpose_and_once(service: Service) -> None:
    question, token = service.parts.talk.ask("form", ANA, "", {})
    assert (await service.send("plan", token)).code == 403
    answer = await service.send("form", token)
    assert "html" in service.parts.talk.read_answer(question, answer.body)
    assert (await service.send("form", token)).code == 403


async def test_an_old_question_is_not_answered(service: Service) -> None:
    _, token = service.parts.talk.ask("form", ANA, "", {}, now=service.parts.once._began - 1)
    assert (await service.send("form", token)).code == 403


async def test_a_start_is_the_persons_own_whatever_it_is_called(service: Service) -> None:
    body = {"options": {"environment": "listed:secret"}, "start": "same"}
    await service.ask("check", body, ANA)
    with pytest.raises(Refused):
        await service.ask("plan", {**body, "after": 0}, BOB)


def imposter(answer: Callable[[bytes], bytes]) -> list[Any]:
    """A session that listens at the service's port."""

    class Handler(RequestHandler):
        def check_xsrf_cookie(self) -> None:
            pass

        def post(self) -> None:
            self.finish(answer(self.request.body))

    return [(r"/.*", Handler)]


async def test_whoever_takes_the_services_port_makes_no_plan_and_no_form(service: Service) -> None:
    question, token = service.parts.talk.ask("form", ANA, "", {})
    recorded = (await service.send("form", token)).body
    assert service.parts.talk.read_answer(question, recorded)
    for forged in (recorded, b'{"html": "<script>"}', b"", token):
        async with serving(imposter(lambda _, forged=forged: forged)) as url:  # type: ignore[misc]
            for purpose in ("form", "check", "plan"):
                with pytest.raises(HubUnavailable):
                    await Asker(url, SealedTalk(SECRET), ANA, "").ask(purpose, {}, seconds=10)
    async with serving(imposter(lambda asked: asked)) as url:  # its own question is no answer
        with pytest.raises(HubUnavailable):
            await Asker(url, SealedTalk(SECRET), ANA, "").ask("plan", {}, seconds=10)


async def test_whoever_takes_the_services_port_sends_the_hub_nowhere_else() -> None:
    asked: list[str] = []

    class Elsewhere(RequestHandler):
        def check_xsrf_cookie(self) -> None:
            pass

        def post(self) -> None:
            asked.append(self.request.path)
            self.redirect("/hub/api/shutdown", status=307)

    async with serving([(r"/.*", Elsewhere)]) as url:
        with pytest.raises(HubUnavailable):
            await Asker(url, SealedTalk(SECRET), ANA, "").ask("form", {}, seconds=10)
        signer = TicketSigner(SECRET)
        with pytest.raises(HubUnavailable):
            await redeem(url, "ticket", user="ana", server_name="", signer=signer)
    assert "/hub/api/shutdown" not in asked


async def test_a_question_that_waited_for_the_service_to_start_again_is_asked_again(service: Service) -> None:
    sockets = bind_sockets(0, "127.0.0.1")  # it listens, and nobody serves yet
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}{PREFIX}"
    asked = asyncio.create_task(
        Asker(url, SealedTalk(SECRET), ANA, "").ask("check", {"options": {}, "start": "1"}, seconds=20)
    )
    await asyncio.sleep(0.1)
    anew = dataclasses.replace(service.parts, once=Once())
    server = HTTPServer(Application(sealed_routes(anew)))
    server.add_sockets(sockets)
    assert await asked == {}
    server.stop()
    await server.close_all_connections()


async def test_a_service_that_is_away_is_waited_for_only_as_long_as_told() -> None:
    (unused,) = bind_sockets(0, "127.0.0.1")
    url = f"http://127.0.0.1:{unused.getsockname()[1]}{PREFIX}"
    unused.close()
    with pytest.raises(HubUnavailable):
        await Asker(url, SealedTalk(SECRET), ANA, "").ask("form", {}, seconds=5)


async def test_nobody_has_the_launcher_look_at_many_things_at_once(service: Service) -> None:
    service.builder._open = False
    body = {"options": {"environment": "listed:geo"}}
    for number in range(8):
        await service.ask("check", {**body, "start": str(number)})
    with pytest.raises(Refused) as refused:
        await service.ask("check", {**body, "start": "8"})
    assert refused.value.told["code"] == "rate_limited"
    assert await service.ask("check", {**body, "start": "0"}) == {}
    assert await service.ask("check", {**body, "start": "1"}, BOB) == {}


async def test_a_service_that_is_silent_breaks_off_or_talks_nonsense_is_one_that_is_away() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        said = next(manners)
        if said is None:
            await reader.read()
        else:
            writer.write(said)
        writer.close()

    broken = [None, b"", b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nhalf", b"\x00\xff\r\n\r\n", b"HTTP/1.1 999"]
    manners = iter(broken)
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{PREFIX}"
    for _ in broken:
        with pytest.raises(HubUnavailable):
            await Asker(url, SealedTalk(SECRET), ANA, "").ask("form", {}, seconds=0.5)
    server.close()


async def test_a_start_that_nobody_asks_about_is_forgotten_and_its_build_goes_on(service: Service) -> None:
    service.builder._open = False
    await service.ask("check", {"options": {"environment": "listed:geo"}, "start": "1"})
    await service.builder.until_started(1)
    service.parts.starts._forgotten_seconds = 0.1
    service.parts.starts.of(ANA.name, "/1", make_plan=None)  # type: ignore[arg-type]
    ((start, _),) = service.parts.starts._starts.values()
    await asyncio.wait({start._listener}, timeout=10)
    assert not service.parts.starts._starts
    service.parts.starts._forgotten_seconds = 60
    service.builder.gate(next(iter(service.builder._gates))).set()
    _, plan = await service.plan({"environment": "listed:geo"}, start="2")
    assert plan.environment is not None
    assert len(service.builder.started) == 1
