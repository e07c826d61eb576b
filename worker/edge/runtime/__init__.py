"""What every part of the Worker needs of the Workers runtime: JS objects and the log."""
