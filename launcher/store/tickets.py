"""Calls about tickets: issued once, redeemed once."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from launcher.errors import TicketInvalid
from launcher.models import LaunchPlan
from launcher.store.base import Calls
from launcher.store.schema import tickets


class TicketCalls(Calls):
    """Calls about tickets."""

    def issue_ticket(self, jti: str, plan: LaunchPlan, expires: datetime) -> None:
        """Keep a plan for the one who brings this ticket before it expires.

        Raises TicketInvalid when the id was used before.
        """
        statement = self._database.insert(tickets).values(
            jti=jti, plan=plan.to_json(), username=plan.user, server_name=plan.server_name, expires=expires
        )
        with self._database.write() as connection:
            # SQLAlchemy forgets the row count of an INSERT unless told to keep it.
            options = {"preserve_rowcount": True}
            if connection.execute(statement.on_conflict_do_nothing(), execution_options=options).rowcount != 1:
                raise TicketInvalid("A ticket with this id was issued before.", hint="Launch again.")

    def redeem_ticket(self, jti: str, now: datetime | None = None) -> LaunchPlan | None:
        """The plan of a ticket, to exactly one caller ever; None when it is unknown, expired or redeemed."""
        now = now or self._clock()
        with self._database.write() as connection:
            # The condition is part of the write: of two who come together, the second changes no row.
            taken = connection.execute(
                sa.update(tickets)
                .where(tickets.c.jti == jti, tickets.c.redeemed_at.is_(None), tickets.c.expires > now)
                .values(redeemed_at=now)
            )
            if taken.rowcount != 1:
                return None
            return LaunchPlan.from_json(
                connection.execute(sa.select(tickets.c.plan).where(tickets.c.jti == jti)).scalar_one()
            )

    def purge_expired_tickets(self, now: datetime | None = None) -> int:
        """Forget tickets that are over, redeemed or not; how many. An unexpired one stays, so that a replay is seen."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(tickets).where(tickets.c.expires <= (now or self._clock()))).rowcount
