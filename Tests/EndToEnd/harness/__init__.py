"""What the end-to-end tests stand on: real Postgres servers, real pgshare processes, a wire client."""
