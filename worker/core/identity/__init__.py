"""Who somebody is who does not present a key of this gateway: signed tokens and what their claims mean here."""
