"""What the dashboard costs: a real server, asked from outside as browsers ask it."""
