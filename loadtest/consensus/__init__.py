"""Three members of a consensus group beside three of etcd: commits, linearizable reads, and how long a killed leader is missed."""
