"""Models behind Protocols. `registry` turns a model's name into an engine; torch is imported inside
constructors only, so importing this package is cheap."""
