"""What the operator's tools can do with prepaid credit: operations of the admin API.

Each thing done has an id in its path: the same again does nothing, something else under it is a
conflict. As in `operations`, nothing here knows HTTP.
"""

from typing import Final

from meter.attribution import checked
from meter.clock import now_us
from meter.core.call import Attribution
from meter.core.money import nanos_from_text
from meter.errors import InputError
from meter.gateway.admin import credit_views as views
from meter.gateway.admin.operations import Asked, Context, Missing, Operation, moment_us


def list_credits(context: Context, asked: Asked) -> views.CreditsShown:
    """Return a page of balances."""
    query: views.CreditsQuery = asked.query
    context.ledger.credits.lapse(now_us())
    found = context.ledger.credits.accounts(now_us=now_us())
    if query.after is not None:
        places = [place for place, each in enumerate(found) if each.id == query.after]
        if not places:
            raise InputError(f"found no credit {query.after!r} to continue after")
        found = found[places[0] + 1 :]
    page = found[: query.limit]
    more = page[-1].id if len(found) > len(page) else None
    return views.CreditsShown([views.credit_shown(each) for each in page], more)


def show_credit(context: Context, asked: Asked) -> views.SubjectCreditShown:
    """Return the credit of a subject."""
    subject, at_us = asked.path["subject"], now_us()
    credits = context.ledger.credits
    credits.lapse(at_us, subject)
    balances = credits.accounts(now_us=at_us, subject=subject)
    if not balances:
        raise Missing(f"found no prepaid credit of {subject!r}")
    return views.SubjectCreditShown(
        [views.credit_shown(each) for each in balances],
        [views.grant_shown(each, at_us) for each in credits.grants(subject)],
    )


def grant_credit(context: Context, asked: Asked) -> views.GrantShown:
    """Grant credit."""
    body: views.GrantAsked = asked.body
    at_us = now_us()
    checked(Attribution(asked.path["subject"]))
    made = context.ledger.credits.grant(
        asked.path["id"],
        asked.path["subject"],
        nanos_from_text(body.amount),
        body.currency,
        expires_us=moment_us(body.expires_at),
        reason=body.reason,
        author=body.author,
        now_us=at_us,
    )
    return views.grant_shown(made, at_us)


def revoke_credit(context: Context, asked: Asked) -> views.GrantShown:
    """End a grant now."""
    body: views.RevocationAsked = asked.body
    known = context.ledger.credits.one(asked.path["id"])
    if known is None or known.subject != asked.path["subject"]:
        raise Missing(f"found no grant {asked.path['id']!r} of {asked.path['subject']!r}")
    at_us = now_us()
    ended = context.ledger.credits.revoke(
        known.id, reason=body.reason, author=body.author, now_us=at_us
    )
    return views.grant_shown(ended, at_us)


def refund_credit(context: Context, asked: Asked) -> views.CreditShown:
    """Give back what was used."""
    body: views.RefundAsked = asked.body
    made = context.ledger.credits.refund(
        asked.path["id"],
        asked.path["subject"],
        nanos_from_text(body.amount),
        body.currency,
        reason=body.reason,
        author=body.author,
        now_us=now_us(),
    )
    return views.credit_shown(made)


def adjust_credit(context: Context, asked: Asked) -> views.CreditShown:
    """Add to credit or take from it."""
    body: views.AdjustmentAsked = asked.body
    made = context.ledger.credits.adjust(
        asked.path["id"],
        asked.path["subject"],
        nanos_from_text(body.amount),
        body.currency,
        reason=body.reason,
        author=body.author,
        now_us=now_us(),
    )
    return views.credit_shown(made)


def show_statement(context: Context, asked: Asked) -> views.StatementShown:
    """Return the credit of a subject line by line."""
    query: views.StatementQuery = asked.query
    subject, at_us = asked.path["subject"], now_us()
    context.ledger.credits.lapse(at_us, subject)
    by = tuple(query.by.split(","))
    if len(set(by)) != len(by):
        raise InputError(f"found groups {query.by!r:.100}, expected different names")
    end_us = moment_us(query.until)
    found = context.ledger.credits.statement(
        subject,
        query.currency,
        since_us=moment_us(query.since),
        until_us=at_us + 1 if end_us is None else end_us,
        tz=query.tz,
        by=by,
    )
    return views.statement_shown(found)


OPERATIONS: Final = (
    Operation("list_credits", "GET", "/credits", "List the balances of prepaid subjects.",
              list_credits, views.CreditsShown, query=views.CreditsQuery),
    Operation("show_credit", "GET", "/credits/{subject}", "Show a subject's balances and grants.",
              show_credit, views.SubjectCreditShown),
    Operation("show_statement", "GET", "/credits/{subject}/statement",
              "Set out a subject's credit line by line.", show_statement, views.StatementShown,
              query=views.StatementQuery),
    Operation("grant_credit", "PUT", "/credits/{subject}/grants/{id}",
              "Grant credit; the same again does nothing.", grant_credit, views.GrantShown,
              body=views.GrantAsked),
    Operation("revoke_credit", "POST", "/credits/{subject}/grants/{id}/revoke",
              "End a grant; what is left of it leaves the balance.", revoke_credit,
              views.GrantShown, body=views.RevocationAsked),
    Operation("refund_credit", "PUT", "/credits/{subject}/refunds/{id}",
              "Give back what calls used; the same again does nothing.", refund_credit,
              views.CreditShown, body=views.RefundAsked),
    Operation("adjust_credit", "PUT", "/credits/{subject}/adjustments/{id}",
              "Add to credit by hand or take from it; the same again does nothing.",
              adjust_credit, views.CreditShown, body=views.AdjustmentAsked),
)  # fmt: skip
