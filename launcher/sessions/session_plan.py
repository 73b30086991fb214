"""From what a person chose for a regular session to the plan of what is started."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.errors import (
    BadRequest,
    ConfigurationInvalid,
    ConfirmationRequired,
    EnvironmentNotFound,
    LauncherError,
    NotAllowed,
    SessionsElsewhere,
)
from launcher.models import (
    EnvironmentKey,
    HomeKind,
    LaunchPlan,
    MachineSize,
    Person,
    Repository,
    ServerName,
    SessionMode,
    Snapshot,
    Spec,
    Trust,
)
from launcher.policy.environments import ListedEnvironment, ListedEnvironments
from launcher.sessions.names import server_name
from launcher.sessions.parts import Environment, LaunchParts, Prepared, read_recipe
from launcher.sessions.session_choices import IMAGE, LISTED, RECENT, REPOSITORY, STANDARD, SessionChoices, at_field
from launcher.sessions.session_offer import RegularSessions, recent_environments
from launcher.sessions.steps import content_of, ready_environment
from launcher.sessions.tasks import Say
from launcher.sources.base import Sources, spec_at
from launcher.sources.pasted import find_pasted

REGULAR = ServerName("")


@dataclass(frozen=True)
class _Software:
    """What the session runs: an environment, perhaps still to be built, an image, or neither for the standard one."""

    prepared: Prepared | None = None
    environment: Environment | None = None
    image: str | None = None


class Planner:
    """Makes the plan of one person's choices."""

    def __init__(self, parts: LaunchParts, regular: RegularSessions, person: Person) -> None:
        self._parts = parts
        self._regular = regular
        self._person = person

    async def plan(self, choices: SessionChoices, say: Say) -> LaunchPlan:
        """See `launcher.sessions.new_session.NewSession.plan`."""
        if not self._regular.own:
            raise SessionsElsewhere(
                "On this hub JupyterHub itself starts regular sessions, and they cannot be chosen here.",
                hint="Start yours from JupyterHub's home page, or launch a repository.",
            )
        with at_field("size"):
            size = self._parts.sizes.choose(choices.size, self._person)
        with at_field("environment"):
            software = await self._software(choices)
        with at_field("files_spec"):
            files = await self._files(choices.files_spec) if choices.files_spec else None
        self._remember(choices, software)
        environment = software.environment
        if software.prepared is not None:
            environment = await ready_environment(self._parts, self._person.name, software.prepared, say)
        return self._plan(size, software, environment, files)

    async def _software(self, choices: SessionChoices) -> _Software:
        kind, name = choices.parted
        match kind:
            case "" if choices.environment == STANDARD:
                return _Software()
            case _ if kind == LISTED:
                return await self._listed(self._regular.listed.choose(name, self._person))
            case _ if kind == RECENT:
                return _Software(environment=await self._recent(EnvironmentKey(name)))
            case _ if kind == IMAGE:
                return self._image(name)
            case _ if choices.environment == REPOSITORY:
                with at_field("environment_spec"):
                    return await self._repository(choices)
        raise BadRequest("There is no such choice of an environment.", hint="Choose one that is offered.")

    async def _listed(self, listed: ListedEnvironment) -> _Software:
        """The operator's list is their word: nobody is asked whether they trust it."""
        if listed.image:
            return _Software(image=listed.image)
        spec = spec_at(self._parts.sources, listed.repository)
        self._parts.policy.check_not_banned(self._parts.sources.repository(spec))
        return _Software(prepared=await self._read(spec))

    async def _recent(self, key: EnvironmentKey) -> Environment:
        known = any(one.key == key for one in recent_environments(self._parts, self._person))
        row = await self._parts.builds.ready(key) if known else None
        if row is None:
            raise EnvironmentNotFound(
                "That environment is not there any more, or not one of yours.",
                hint="Choose its repository instead: it is found or built again.",
            )
        return Environment.of(row)

    def _image(self, name: str) -> _Software:
        allows = self._regular.allows_image
        if allows is None:
            raise NotAllowed("This hub starts no sessions from images.", hint="Choose an environment that it offers.")
        with at_field("image"):
            if not name:
                raise BadRequest(
                    "There is no image in the form.", hint="Write its name, or choose another environment."
                )
            if not allows(name):
                raise NotAllowed(
                    "This hub does not allow that image.",
                    hint="Choose one that it offers, or ask the people who run it.",
                )
        return _Software(image=name)

    async def _repository(self, choices: SessionChoices) -> _Software:
        spec = await self._pasted(choices.environment_spec)
        repository = self._checked(spec)
        if self._trust(repository) is Trust.UNKNOWN and not choices.trust:
            with at_field("trust"):
                raise ConfirmationRequired(
                    f"{repository.display_name} is not a repository this hub knows to be safe, and its environment "
                    "would see all your files.",
                    hint="Say that you trust it, or launch it on its own page, where it gets a home of its own.",
                )
        return _Software(prepared=await self._read(spec))

    async def _files(self, pasted: str) -> Snapshot:
        """As with an nbgitpuller link, these are files that the person asked for: nothing of them runs by itself."""
        spec = await self._pasted(pasted)
        self._checked(spec)
        return await self._parts.sources.fetch(await self._parts.sources.resolve(spec))

    async def _pasted(self, text: str) -> Spec:
        found = await find_pasted(self._parts.sources, text)
        return spec_at(self._parts.sources, found.pasted.spec())

    def _checked(self, spec: Spec) -> Repository:
        repository = self._parts.sources.repository(spec)
        self._parts.policy.check(repository)
        return repository

    def _trust(self, repository: Repository) -> Trust:
        mine = self._parts.store.is_mine(self._person.name, repository.id)
        return self._parts.policy.trust(repository, mine=mine)

    async def _read(self, spec: Spec) -> Prepared:
        resolved = await self._parts.sources.resolve(spec)
        dask = self._parts.dask_policy.adds(self._person, HomeKind.PERSONAL, chosen=False)
        return await read_recipe(self._parts, resolved, dask=dask)

    def _remember(self, choices: SessionChoices, software: _Software) -> None:
        """That the person trusts the repository, if they said so, and that they used it."""
        if choices.environment != REPOSITORY or software.prepared is None:
            return
        resolved, store, user = software.prepared.snapshot.resolved, self._parts.store, self._person.name
        if self._trust(resolved.repository) is Trust.UNKNOWN:
            store.trust_repository(user, resolved.repository.id)
        name = server_name(resolved.repository)
        if store.session(user, name) is None:  # else it says what its own session was started with
            key = software.prepared.key
            store.save_session(user, name, resolved, environment_key=key, home=HomeKind.PERSONAL)

    def _plan(
        self, size: MachineSize | None, software: _Software, environment: Environment | None, files: Snapshot | None
    ) -> LaunchPlan:
        mode = SessionMode.FULL if software.image else environment.mode if environment else SessionMode.KERNEL
        return LaunchPlan(
            user=self._person.name,
            server_name=REGULAR,
            environment=environment.reference if environment else None,
            mode=mode,
            home=HomeKind.PERSONAL,
            project=None,
            content=content_of(files) if files is not None else None,
            start=_start_script(software.prepared, files),
            variables={},
            size=size,
            image=software.image,
        )


def check_listed(sources: Sources, listed: ListedEnvironments) -> None:
    """Raise ConfigurationInvalid for an environment of the operator's list that could never be chosen."""
    for one in listed.environments:
        if not one.repository:
            continue
        try:
            spec_at(sources, one.repository)
        except LauncherError as error:
            raise ConfigurationInvalid(f"environments, {one.name!r}: {error.message}", hint=error.hint) from error


def _start_script(prepared: Prepared | None, files: Snapshot | None) -> str | None:
    """The environment's start script, only when the files are those it was written for."""
    if prepared is None or files is None:
        return None
    same = prepared.snapshot.commit == files.commit and prepared.snapshot.cache == files.cache
    return prepared.recipe.start if same else None
