"""The application: HTTP surface, services, and the one composition root (`app.build`)."""
