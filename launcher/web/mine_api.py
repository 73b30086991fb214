"""What is mine, for programs: sessions, repositories, trust, project homes. With a Hub token only."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import cast

from tornado.iostream import StreamClosedError

from launcher.errors import BadRequest, LauncherError
from launcher.models import RepositoryId
from launcher.web.api import TokenHandler
from launcher.web.base import BaseHandler
from launcher.web.limits import StreamSlots


class SessionsHandler(TokenHandler):
    """``/api/v1/sessions``."""

    async def get(self) -> None:
        """The person's sessions that run, start or stop."""
        visitor = self.require_token()
        sessions = await self.parts.mine.sessions(visitor.person, visitor.hub_token)
        self.finish({"sessions": [session.to_json() for session in sessions]})


class SessionHandler(TokenHandler):
    """``/api/v1/sessions/<server>``; the regular session is the one without a name."""

    async def delete(self, server_name: str) -> None:
        """Stop it."""
        visitor = self.require_token()
        await self.parts.mine.stop(visitor.person, visitor.hub_token, server_name)
        self.set_status(HTTPStatus.NO_CONTENT)


class SessionActivityHandler(TokenHandler):
    """``/api/v1/sessions/<server>/activity``."""

    async def post(self, server_name: str) -> None:
        """Count it as used now, so that it is not ended yet."""
        visitor = self.require_token()
        await self.parts.mine.keep_alive(visitor.person, visitor.hub_token, server_name)
        self.set_status(HTTPStatus.NO_CONTENT)


class RepositoriesHandler(TokenHandler):
    """``/api/v1/repositories``."""

    async def get(self) -> None:
        """Repositories the person launched or trusts, last launched first, at most 200 of those launched."""
        visitor = self.require_token()
        sessions = await self.parts.mine.sessions(visitor.person, visitor.hub_token)
        running = frozenset(session.server_name for session in sessions)
        found = await self.parts.mine.repositories(visitor.person, running)
        self.finish({"repositories": [repository.to_json() for repository in found]})


class TrustHandler(TokenHandler):
    """``/api/v1/trust``."""

    async def delete(self) -> None:
        """Take back that the person trusts ``?repository=``, an id as in the list of repositories."""
        visitor, repository = self.require_token(), self.first_argument("repository")
        if not repository:
            raise BadRequest("`repository` is missing.", hint="Name it as api/v1/repositories does.")
        self.parts.mine.distrust(visitor.person, RepositoryId(repository))
        self.set_status(HTTPStatus.NO_CONTENT)


class ProjectHomeHandler(TokenHandler):
    """``/api/v1/project-homes/<server>``."""

    async def get(self, server_name: str) -> None:
        """Whose home it is and how big."""
        row, size = await self.parts.mine.home(self.require_token().person, server_name)
        home = {"server_name": row.server_name, "repository": row.repository_id, "name": row.display_name}
        measured = {"size_bytes": size.size_bytes, "files": size.files, "complete": size.complete}
        self.finish({"project_home": {**home, **measured}})

    async def delete(self, server_name: str) -> None:
        """Delete it with all its files, for good."""
        visitor = self.require_token()
        await self.parts.mine.delete_home(visitor.person, visitor.hub_token, server_name)
        self.set_status(HTTPStatus.NO_CONTENT)


class ProjectHomeArchiveHandler(TokenHandler):
    """``/api/v1/project-homes/<server>/archive``."""

    async def get(self, server_name: str) -> None:
        """All its files as a gzipped tar."""
        self.require_token()
        await send_archive(self, server_name)


async def send_archive(handler: BaseHandler, server_name: str) -> None:
    """Answer with the visitor's project home. Raises NotFound; after the first piece a broken archive just ends."""
    person = handler.require_visitor().person
    slots: StreamSlots = handler.application.settings["stream_slots"]
    pieces = cast("AsyncGenerator[bytes, None]", handler.parts.mine.home_archive(person, server_name))
    with slots.take(person.name):
        async with aclosing(pieces):
            first = await anext(pieces)  # a home that is not there is an error, not an empty archive
            handler.set_header("Content-Type", "application/gzip")
            handler.set_header("Content-Disposition", f'attachment; filename="{server_name}.tar.gz"')
            try:
                await _send(handler, first)
                async for piece in pieces:
                    await _send(handler, piece)
            except StreamClosedError:
                return  # the client has gone
            except LauncherError:
                stream = getattr(handler.request.connection, "stream", None)
                if stream is not None:
                    stream.close()  # without the end of the answer, so that nobody takes it for whole


async def _send(handler: BaseHandler, piece: bytes) -> None:
    handler.write(piece)
    await handler.flush()
