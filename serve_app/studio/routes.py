"""`GET /` the studio page, `GET /page/*` its files. They need no key: the page asks for one itself."""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI, Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from serve_app.http.problems import NotFound
from serve_app.studio.bundle import Asset, Bundle

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; worker-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; manifest-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)

_PAGE_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cache-Control": "no-cache",
}
_ASSET_HEADERS: Final = {"Cache-Control": "public, max-age=31536000, immutable"}

NOT_BUILT: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Segue</title>
<link rel="icon" href="data:,">
</head>
<body>
<h1>Segue is running, without its studio page</h1>
<p>The page is built by <code>make page</code>, which fetches its tools from PyPI and npm. Run it where these can be
reached, then start Segue again.</p>
<p>The API is complete: <a href="docs">its description</a>. The command <code>segue</code> needs no page either.</p>
</body>
</html>
"""


def install_studio(app: FastAPI, bundle: Bundle | None = None) -> None:
    """Add the page and its files to `app`."""
    page = bundle or Bundle()

    @app.get("/", include_in_schema=False)
    async def studio(request: Request) -> Response:
        if not request.url.path.endswith("/"):  # the page's URLs are relative to its folder
            return RedirectResponse(f"{request.url.path}/")
        if page.index is None:
            return HTMLResponse(NOT_BUILT, headers=_PAGE_HEADERS)
        return _file(request, page.index, _PAGE_HEADERS)

    @app.get("/page/{name}", include_in_schema=False)
    async def asset(name: str, request: Request) -> Response:
        found = page.find(name)
        if found is None:
            raise NotFound("There is nothing at this path.")
        return _file(request, found, _ASSET_HEADERS)


def _file(request: Request, asset: Asset, headers: dict[str, str]) -> FileResponse:
    """The gzipped file for clients that take one."""
    headers = {**headers, "Vary": "Accept-Encoding"}
    accepted = request.headers.get("accept-encoding", "").lower()
    if asset.packed is not None and "gzip" in accepted and "gzip;q=0" not in accepted.replace(" ", ""):
        headers["Content-Encoding"] = "gzip"
        return FileResponse(asset.packed, media_type=asset.media_type, headers=headers)
    return FileResponse(asset.path, media_type=asset.media_type, headers=headers)
