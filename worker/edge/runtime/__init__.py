"""The Workers runtime: JS objects, SQL, the event loop and the log."""
