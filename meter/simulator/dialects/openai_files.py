"""Answer the endpoints under `/v1/files`. A file belongs to the key that uploaded it.

Source: types of the openai package 3.54, read 2026-11-22.
"""

from __future__ import annotations

import time

from meter.simulator.forms import read_form
from meter.simulator.replies import Json, Refusal, Reply, Request, Whole
from meter.simulator.world import StoredFile, World

_PAGE_LIMIT = 10_000


def upload(request: Request, world: World) -> Reply:
    """Store a file. Raises: Refusal."""
    fields, files = read_form(request.body, request.headers)
    if "file" not in files:
        raise Refusal(400, "Missing required parameter: 'file'.", None, "file")
    stored = StoredFile(
        id=world.new_id("file-"),
        owner=request.key,
        filename=files["file"].filename,
        purpose=fields.get("purpose", "user_data"),
        created_at=int(time.time()),
        content=files["file"].content,
    )
    world.store_file(stored)
    return Whole(payload=_render(stored))


def list_files(request: Request, world: World) -> Reply:
    """List the key's files, newest first."""
    owned = [file for file in reversed(world.files.values()) if file.owner == request.key]
    purpose = request.query.get("purpose")
    if purpose:
        owned = [file for file in owned if file.purpose == purpose]
    after = request.query.get("after")
    if after:
        names = [file.id for file in owned]
        owned = owned[names.index(after) + 1 :] if after in names else []
    wanted = request.query.get("limit", "")
    limit = int(wanted) if wanted.isdigit() else _PAGE_LIMIT
    page = owned[:limit]
    return Whole(
        payload={
            "object": "list",
            "data": [_render(file) for file in page],
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
            "has_more": len(owned) > len(page),
        }
    )


def show(request: Request, world: World) -> Reply:
    """Show one file. Raises: Refusal."""
    return Whole(payload=_render(_owned(request, world)))


def read(request: Request, world: World) -> Reply:
    """Send the content of one file. Raises: Refusal."""
    stored = _owned(request, world)
    return Whole(body=stored.content, content_type="application/octet-stream")


def delete(request: Request, world: World) -> Reply:
    """Delete one file. Raises: Refusal."""
    stored = _owned(request, world)
    del world.files[stored.id]
    return Whole(payload={"id": stored.id, "object": "file", "deleted": True})


def _owned(request: Request, world: World) -> StoredFile:
    name = request.parts["id"]
    stored = world.files.get(name)
    if stored is None or stored.owner != request.key:
        raise Refusal(404, f"No such File object: {name}", None, "id")
    return stored


def _render(stored: StoredFile) -> Json:
    return {
        "id": stored.id,
        "object": "file",
        "bytes": len(stored.content),
        "created_at": stored.created_at,
        "filename": stored.filename,
        "purpose": stored.purpose,
        "status": "processed",
    }
