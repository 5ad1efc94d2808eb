"""The page of the service: static files, and the routes that serve them."""
