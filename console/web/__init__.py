"""What the console says over HTTP: pages, the JSON API, logins, and the headers that guard them."""
