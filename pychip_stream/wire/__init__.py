"""Messages between the services: their form, their coding, their sockets."""
