"""The studio page: the bundle in `serve_app/page/`, made from the sources in `page/`."""
