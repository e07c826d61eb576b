"""People sign in to the dashboard by OpenID Connect: settings, the flow, and the endpoints that both doors serve."""
