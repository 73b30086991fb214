"""Every error of the launcher, in one tree.

::

    LauncherError
    ├── BadRequest
    │   ├── SpecInvalid            the provider spec has the wrong shape
    │   ├── ProviderUnknown        no such provider
    │   ├── PathInvalid            urlpath, labpath or filepath leaves the session
    │   ├── MethodNotAllowed       this address does not know the HTTP method
    │   └── RequestTooLarge        the URL or body is longer than we read
    ├── NotAllowed
    │   ├── LoginRequired          nobody is logged in
    │   ├── BuildTokenInvalid      the page's build token is missing, expired or for something else
    │   ├── CrossSiteRefused       the request did not come from a page of ours
    │   ├── ConfirmationRequired   an unknown repository, and nobody said yes yet
    │   ├── RepositoryNotAllowed   the operator's policy says no
    │   ├── MachineSizeNotAllowed  no such machine size, or not for this person's groups
    │   ├── AddressRefused         the address is private, local or not https
    │   └── TicketInvalid          a start ticket is forged, expired, used or for something else
    ├── NotFound
    │   ├── RepositoryNotFound
    │   ├── RefNotFound
    │   ├── RefAmbiguous
    │   ├── BuildNotFound
    │   ├── EnvironmentNotFound
    │   ├── SessionNotFound
    │   └── ClusterNotFound
    ├── SourceError
    │   ├── SourceUnavailable      the host did not answer, or not in time
    │   ├── SourceTooLarge         more bytes, files or objects than allowed
    │   └── SourceInvalid          what came back is not a repository or archive we accept
    ├── RecipeError
    │   ├── RecipeInvalid          a recipe file cannot be read as what its name says
    │   ├── RecipeUnsupported      this runtime cannot do it; says what can
    │   └── PythonUnavailable      the Python version asked for is not on this machine
    ├── BuildError
    │   ├── BuildFailed            the build ended with an error; the log has the rest
    │   ├── BuildLimitExceeded     time, memory, processes, disk or output
    │   ├── BuildCancelled
    │   └── QueueFull
    ├── SessionError
    │   ├── SessionStartFailed
    │   ├── ContentFailed          the files could not be put in place
    │   ├── SessionRunning         the regular session runs; it must be stopped before another one starts
    │   ├── SessionsElsewhere      regular sessions are not the launcher's on this hub
    │   ├── HomeInUse              a project home cannot be deleted while its session runs
    │   └── HomeUnusable           a project home could not be read or deleted
    ├── DaskError
    │   ├── DaskNotAllowed         this person or session may not have clusters; says why
    │   ├── DaskLimitExceeded      more clusters, workers, cores or memory than allowed; names the limit
    │   ├── DaskUnavailable        the gateway is off or does not answer
    │   └── ClusterStartFailed     the cluster could not be started
    ├── EnvironmentInUse           a session, a build or a pin keeps it from being removed
    ├── RebuildImpossible          what an environment was built from is not known any more
    ├── HubUnavailable
    ├── RateLimited
    └── OperatorError              configuration or machine; the operator can mend it
        ├── ConfigurationInvalid
        ├── StateUnusable          disk full, read-only, newer schema, used by another service
        ├── SandboxUnavailable     bubblewrap or user namespaces are missing
        ├── EngineError            podman or docker refused what was asked of it
        │   └── EngineUnavailable  there is none, or it does not answer
        └── RegistryUnavailable    the registry of environments does not answer, or refuses us

``code`` is stable and documented, ``message`` and ``hint`` may be shown to anyone: they never hold a path of the
machine, a command line, a credential or the output of a program.
"""

from __future__ import annotations

from typing import ClassVar


class LauncherError(Exception):
    """An error with words for people.

    ``message`` says what happened, ``hint`` what to do next. ``code`` and ``http_status`` belong to the class.
    ``field``: what of a form or request it is about, "" for all of it.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "", retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retry_after = retry_after  # seconds, when waiting helps
        self.field = ""

    def to_dict(self) -> dict[str, object]:
        """The error as the ``error`` object of every JSON answer."""
        body: dict[str, object] = {"code": self.code, "message": self.message, "hint": self.hint}
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        if self.field:
            body["field"] = self.field
        return body


class BadRequest(LauncherError):
    """The request cannot be understood."""

    code = "bad_request"
    http_status = 400


class SpecInvalid(BadRequest):
    """The provider spec has the wrong shape."""

    code = "spec_invalid"


class ProviderUnknown(BadRequest):
    """No provider has this prefix."""

    code = "provider_unknown"
    http_status = 404


class PathInvalid(BadRequest):
    """The path to open would leave the session."""

    code = "path_invalid"


class MethodNotAllowed(BadRequest):
    """The address exists but does not know this HTTP method."""

    code = "method_not_allowed"
    http_status = 405


class RequestTooLarge(BadRequest):
    """The URL or the body is longer than the launcher reads."""

    code = "request_too_large"
    http_status = 413


class NotAllowed(LauncherError):
    """The request was understood and refused."""

    code = "not_allowed"
    http_status = 403


class LoginRequired(NotAllowed):
    """Nobody is logged in."""

    code = "login_required"


class BuildTokenInvalid(NotAllowed):
    """The page's build token is missing, expired or was made for something else."""

    code = "build_token_invalid"


class CrossSiteRefused(NotAllowed):
    """The request changes something and did not come from a page of ours."""

    code = "cross_site_refused"


class ConfirmationRequired(NotAllowed):
    """The repository is unknown and the person has not said yes on the launch page."""

    code = "confirmation_required"


class RepositoryNotAllowed(NotAllowed):
    """The operator's policy does not let this repository launch."""

    code = "repository_not_allowed"


class MachineSizeNotAllowed(NotAllowed):
    """There is no such machine size, or it is for groups the person is not in."""

    code = "machine_size_not_allowed"


class AddressRefused(NotAllowed):
    """The address is private, local, or reached by a protocol that is not allowed."""

    code = "address_refused"


class TicketInvalid(NotAllowed):
    """A start ticket is forged, expired, used before, or names something else."""

    code = "ticket_invalid"


class NotFound(LauncherError):
    """The thing asked for does not exist, or not for this person."""

    code = "not_found"
    http_status = 404


class RepositoryNotFound(NotFound):
    """No such repository, or it is not public."""

    code = "repository_not_found"


class RefNotFound(NotFound):
    """The repository has no such branch, tag or commit."""

    code = "ref_not_found"


class RefAmbiguous(NotFound):
    """A branch and a tag have the same name and point to different commits."""

    code = "ref_ambiguous"
    http_status = 409


class BuildNotFound(NotFound):
    """No such build, or it belongs to something this person may not see."""

    code = "build_not_found"


class SessionNotFound(NotFound):
    """This person has no session of that name running."""

    code = "session_not_found"


class EnvironmentNotFound(NotFound):
    """There is no environment with this key."""

    code = "environment_not_found"


class ClusterNotFound(NotFound):
    """There is no such Dask cluster, or it belongs to somebody else."""

    code = "cluster_not_found"


class SourceError(LauncherError):
    """The place where the repository lives gave trouble."""

    code = "source_error"
    http_status = 502


class SourceUnavailable(SourceError):
    """The host did not answer, or not in time."""

    code = "source_unavailable"


class SourceTooLarge(SourceError):
    """The repository has more bytes, files or objects than allowed."""

    code = "source_too_large"
    http_status = 413


class SourceInvalid(SourceError):
    """What came back is not a repository or an archive that we accept."""

    code = "source_invalid"


class RecipeError(LauncherError):
    """The repository's environment files cannot be used."""

    code = "recipe_error"
    http_status = 422


class RecipeInvalid(RecipeError):
    """A recipe file cannot be read as what its name says."""

    code = "recipe_invalid"


class RecipeUnsupported(RecipeError):
    """This runtime cannot do what the recipe asks; the hint names what can."""

    code = "recipe_unsupported"


class PythonUnavailable(RecipeError):
    """The Python version asked for is not on this machine and cannot be fetched."""

    code = "python_unavailable"


class BuildError(LauncherError):
    """The environment could not be built."""

    code = "build_error"
    http_status = 422


class BuildFailed(BuildError):
    """The build ended with an error; its log has the rest."""

    code = "build_failed"


class BuildLimitExceeded(BuildError):
    """The build used more time, memory, processes, disk or output than allowed."""

    code = "build_limit_exceeded"


class BuildCancelled(BuildError):
    """Somebody who may do so cancelled the build."""

    code = "build_cancelled"
    http_status = 409


class QueueFull(BuildError):
    """More builds wait than the operator allows."""

    code = "queue_full"
    http_status = 503


class SessionError(LauncherError):
    """The session could not be started."""

    code = "session_error"
    http_status = 502


class SessionStartFailed(SessionError):
    """The session's server ended or did not answer in time."""

    code = "session_start_failed"


class ContentFailed(SessionError):
    """The repository's files could not be put in place."""

    code = "content_failed"


class SessionRunning(SessionError):
    """The regular session is running; another one can start when it was stopped."""

    code = "session_running"
    http_status = 409


class SessionsElsewhere(SessionError):
    """On this hub JupyterHub itself starts the regular sessions, without choices of the launcher."""

    code = "sessions_elsewhere"
    http_status = 409


class HomeInUse(SessionError):
    """A project home cannot be deleted while a session sees it."""

    code = "home_in_use"
    http_status = 409


class HomeUnusable(SessionError):
    """A project home could not be read or deleted as a whole."""

    code = "home_unusable"


class DaskError(LauncherError):
    """Something about Dask clusters."""

    code = "dask_error"
    http_status = 500


class DaskNotAllowed(DaskError):
    """This person, or this session of theirs, may not have clusters; the message says why."""

    code = "dask_not_allowed"
    http_status = 403


class DaskLimitExceeded(DaskError):
    """More clusters, workers, cores or memory than the operator allows; the message names the limit."""

    code = "dask_limit_exceeded"
    http_status = 409


class DaskUnavailable(DaskError):
    """Dask is not switched on here, or the gateway does not answer."""

    code = "dask_unavailable"
    http_status = 503


class ClusterStartFailed(DaskError):
    """The cluster could not be started; the message says why."""

    code = "cluster_start_failed"


class EnvironmentInUse(LauncherError):
    """The environment cannot be removed now: it is pinned, being built, or a session runs in it."""

    code = "environment_in_use"
    http_status = 409


class RebuildImpossible(LauncherError):
    """The environment cannot be made anew, because what it was built from is not known any more."""

    code = "rebuild_impossible"
    http_status = 409


class HubUnavailable(LauncherError):
    """JupyterHub did not answer or refused what we asked."""

    code = "hub_unavailable"
    http_status = 503


class RateLimited(LauncherError):
    """Too many requests of one person."""

    code = "rate_limited"
    http_status = 429


class OperatorError(LauncherError):
    """Something only the operator can mend."""

    code = "operator_error"


class ConfigurationInvalid(OperatorError):
    """The configuration is incomplete or contradicts itself."""

    code = "configuration_invalid"


class StateUnusable(OperatorError):
    """The state directory or database cannot be used."""

    code = "state_unusable"
    http_status = 503


class SandboxUnavailable(OperatorError):
    """Bubblewrap or unprivileged user namespaces are missing on this machine."""

    code = "sandbox_unavailable"


class EngineError(OperatorError):
    """The container engine refused or failed at what was asked of it.

    ``status``: of its answer, 0 without one. ``said``: its own words, which may name paths of the machine.
    """

    code = "engine_error"
    http_status = 502
    status: int = 0
    said: str = ""


class EngineUnavailable(EngineError):
    """There is no container engine, it does not answer, or this user may not use it."""

    code = "engine_unavailable"
    http_status = 503


class RegistryUnavailable(OperatorError):
    """The registry that keeps environments does not answer, or refuses the launcher."""

    code = "registry_unavailable"
    http_status = 503
