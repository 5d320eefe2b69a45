"""The dashboard: one page of plain HTML, CSS and JavaScript that speaks only the REST API, and a reader for its description.

    static/index.html   the page               static/main.js      state and live updates
    static/style.css    both themes            static/traces.js    K over steps (plotly)
    static/theme.js     the reader's choice    static/ruler.js     spectra as ruler plots (SVG)
    static/dom.js       symbols and numbers    static/hiscores.js  table, walkers
    static/api.js       requests, events       static/detail.js    one hiscore with everything behind its score
    static/docs.html    the REST API, told from its OpenAPI description (static/docs.js)

Everything is served from installed packages (plotly.js from the plotly distribution): it works without internet.
"""

from __future__ import annotations

from pathlib import Path

import plotly
from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

STATIC = Path(__file__).parent / "static"
PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def build_dashboard_router() -> APIRouter:
    """Builds the routes of the page and its files."""
    router = APIRouter(include_in_schema=False)
    files = {path.name: path for path in STATIC.iterdir() if path.suffix in MEDIA_TYPES}

    def page(name: str) -> FileResponse:
        return FileResponse(files[name], media_type=MEDIA_TYPES[".html"], headers={"Cache-Control": "no-cache"})

    @router.get("/")
    def index() -> FileResponse:
        return page("index.html")

    @router.get("/docs")
    def docs() -> FileResponse:
        return page("docs.html")

    @router.get("/static/vendor/plotly.min.js")
    def plotly_js() -> FileResponse:
        return FileResponse(PLOTLY_JS, media_type=MEDIA_TYPES[".js"], headers={"Cache-Control": "max-age=3600"})

    @router.get("/static/{name}")
    def static(name: str) -> FileResponse:
        if name not in files:
            raise HTTPException(404)
        path = files[name]
        return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers={"Cache-Control": "no-cache"})

    return router
