"""What a feed makes of a file or topic, before anything is sent or stored."""
