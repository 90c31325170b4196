"""What a feed numbers: channels followed, gaps told, handed over, rebuilt, and reported on. One definition of a gap."""
