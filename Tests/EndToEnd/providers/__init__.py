"""Local servers that speak the providers' APIs, and Postgres servers shaped like theirs."""
