"""The application: the endpoints in FastAPI, the operator's pages, and the life of one serving process."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from api import metrics
from api.console.pages import pages
from api.email.endpoints import mail_routes
from api.endpoint import Endpoint
from api.endpoints import endpoints
from api.errors import STATUS, Problem
from api.front import Front
from api.keys import KeyRing
from api.live import Live
from api.logs import configure_logging
from api.openapi import paths_of
from api.service import Service
from api.settings import Settings
from api.standby import Standby
from api.storage import url_of
from api.taking import count_kept
from api.tokens import Sealer, installation_sealer, renewed_sealer
from api.web.endpoints import web_routes
from decisioning.errors import RegistryDamaged, StoreUnavailable
from decisioning.store.process import die_with_parent
from decisioning.store.redis import connect

LOG = logging.getLogger("nextbest")
KEYS_S = 1.0  # until a new token key is known
# Made and not yet gone, before the garbage collector looks among them. 64 requests under way have thousands, none of
# them garbage: at Python's 700 it looked once in ten requests, for 3 % of their CPU. Looking at 10,000 takes 2 ms.
YOUNG_OBJECTS = 10_000
# How long a thread that opens a strategy or a model's new state goes on before a request may. At Python's 5 ms every
# turn of the event loop took as long, until it had ended.
SWITCH_S = 0.0005


def create_app() -> FastAPI:
    """The application of one serving process; uvicorn calls this in each worker."""
    if (parent := parent_process()) is not None and parent.pid is not None:
        die_with_parent(parent.pid)  # one of several workers, which must not stay when their server is killed
    configure_logging()
    gc.set_threshold(YOUNG_OBJECTS)
    sys.setswitchinterval(SWITCH_S)
    settings = Settings.from_environment()
    store = connect(url_of(settings), deadline_ms=settings.deadline_ms)
    keys = KeyRing(settings.demo)
    live = Live(store, settings.models_dir, keys, Standby(settings.data_dir))
    return assemble(Service(settings, store, keys, live))


def assemble(service: Service) -> FastAPI:
    """Put the endpoints around a service."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(_keep_fresh(service))
        watching.add_done_callback(_told_if_broken)
        stocking = asyncio.create_task(service.restocker.keep())
        stocking.add_done_callback(_told_if_unstocked)
        beside = [asyncio.create_task(each) for each in _chores(service)]
        for chore in beside:
            chore.add_done_callback(_told_if_ended)
        yield
        for task in (tasks := (watching, stocking, *beside)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # who broke has been told; the rest is to be closed
        await service.restocker.close()
        service.journal.close()
        service.studio.close()
        await service.store.close()

    app = Front(
        title="Nextbest",
        version="1",
        summary="An offer, a brand message, or nothing: decided at the moment of contact.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages fetch scripts from elsewhere; ours is api/console/reference.py
        redoc_url=None,
        redirect_slashes=False,  # nothing a request names leads elsewhere
    )
    rows = endpoints(service)
    app.add_endpoints(rows)
    for page in pages(service):
        app.router.routes.append(Route(page.path, page, methods=[page.method]))
    app.router.routes.extend(mail_routes(service))
    app.router.routes.extend(web_routes(service))
    _operator_pages(app, service)
    _describe(app, rows)
    app.add_exception_handler(HTTPException, _plain_problem)
    return app


def _told_if_broken(watching: asyncio.Task[None]) -> None:
    """Without its watcher a process would keep deciding with an old strategy and removed keys, and say nothing."""
    if not watching.cancelled() and (error := watching.exception()) is not None:
        LOG.critical("the watcher ended; restart this process", exc_info=error)
        metrics.READY.set(0)


def _told_if_unstocked(stocking: asyncio.Task[None]) -> None:
    """Budgets hold without upkeep; what is set aside for the idle would stay there."""
    if not stocking.cancelled() and (error := stocking.exception()) is not None:
        LOG.error("the upkeep of budgets ended in this process", exc_info=error)


def _told_if_ended(chore: asyncio.Task[None]) -> None:
    """Pictures, the journal and new token keys are taken care of beside requests, which go on without."""
    if not chore.cancelled() and (error := chore.exception()) is not None:
        LOG.critical("a chore ended; restart this process", exc_info=error)


def _chores(service: Service) -> list[Coroutine[Any, Any, None]]:
    """What a process does beside its requests, for ever."""

    async def count(kind: str, fields: Mapping[str, Any]) -> None:
        await count_kept(service, kind, fields)

    return [
        service.studio.keep(service.live),
        service.journal.keep(lambda: _every_key(service), count),
        _keep_keys(service),
    ]


async def _keep_keys(service: Service) -> None:
    """Take up token keys that were added or retired."""
    while True:
        await asyncio.sleep(KEYS_S)
        with suppress(StoreUnavailable, RegistryDamaged):
            await _every_key(service)


async def _every_key(service: Service) -> Sealer | None:
    """The sealer with all keys there are by now, whoever made them; None before the store was met."""
    if service.sealer is not None:
        service.sealer = await renewed_sealer(service.store, service.sealer)
    return service.sealer


async def _keep_fresh(service: Service) -> None:
    """Meet the store, as often as it takes, then keep strategy, model and keys fresh."""
    while service.sealer is None:
        try:
            await service.live.refresh()
            service.sealer = await installation_sealer(service.store)
        except (StoreUnavailable, RegistryDamaged) as error:
            LOG.warning("store not reached yet: %s", error)
            await service.live.recall()
            await asyncio.sleep(1)
    await service.live.watch()


def _operator_pages(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="The process is alive.", tags=["operation"])
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get(
        "/readyz",
        summary="Strategy, model and store are there.",
        tags=["operation"],
        responses={503: {"description": "Not yet."}},
    )
    async def readyz() -> JSONResponse:
        try:
            await service.store.ping()
            store = True
        except StoreUnavailable:
            store = False
        ready = store and service.live.current is not None and service.sealer is not None and service.studio.is_set_up
        return JSONResponse({"ready": ready, "store": store, **service.live.loaded}, 200 if ready else 503)

    @app.get("/metrics", summary="Prometheus metrics.", tags=["operation"], response_class=Response)
    async def prometheus() -> Response:
        return Response(generate_latest(_registry()), media_type=CONTENT_TYPE_LATEST)


def _registry() -> CollectorRegistry:
    """All workers' metrics when several serve, this process's otherwise."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")  # `nextbest serve --workers N` sets it
    if not folder:
        return REGISTRY
    _forget_the_dead(Path(folder))
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it has no stubs
    return registry


def _forget_the_dead(folder: Path) -> None:
    """Remove the gauges of workers that are gone: who replaces them tells nobody, and `ready` would stay as it was."""
    for path in folder.glob("gauge_live*.db"):
        try:
            os.kill(int(path.stem.rpartition("_")[2]), 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)


def _describe(app: FastAPI, rows: list[Endpoint]) -> None:
    """`/openapi.json`: FastAPI's own description of the operator pages, and ours of /v1."""
    described: dict[str, Any] = app.openapi()
    paths, components = paths_of(rows)
    described["paths"] |= paths
    described.setdefault("components", {})["schemas"] = described.get("components", {}).get("schemas", {}) | components
    described["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}


async def _plain_problem(request: Request, error: Exception) -> JSONResponse:
    """Routes and methods that do not exist, in the shape of every other error."""
    assert isinstance(error, HTTPException)
    code = next((code for code, status in STATUS.items() if status == error.status_code), "invalid_field")
    problem = Problem(code, f"{error.detail}. The endpoints are listed at /openapi.json.", "path")
    headers = {"allow": ", ".join(_allowed(request))} if code == "method_not_allowed" else dict(error.headers or {})
    return JSONResponse(problem.body(), error.status_code, headers=headers)


def _allowed(request: Request) -> list[str]:
    """All methods of a path; each is a route of its own, and a refusal by one knows only its own."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    matching = [route.methods or () for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for methods in matching for method in methods})
