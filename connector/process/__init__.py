"""What a process has of its machine: ports and folders, memory, and a rhythm for what is done regularly."""
