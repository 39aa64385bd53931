"""What a script does to a server: what is answered, what goes wrong, what is written down."""
