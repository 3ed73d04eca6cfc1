"""The ``pilotfish`` command. Each subcommand's module is imported when it is called, so that an agent loads only its own."""

import argparse
import gc
import importlib
import sys

COMMANDS = {
    "agent": ("agent.app.agent_command", "run an agent"),
    "check": ("agent.app.check", "check a configuration; exit 2 with every error"),
    "demo": ("agent.app.demo", "an application, an agent in front of it, and traffic"),
    "status": ("agent.app.status", "what a running agent does"),
    "why": ("agent.app.why_command", "why an URL is answered as it is"),
    "cluster": ("agent.app.cluster_command", "the cluster that a running agent is in: members, health, keys, leave, ping, events"),
    "consensus": ("agent.app.consensus_command", "the group that a running agent decides with: status, members, add, remove, transfer, …"),
    "cache-sim": ("agent.app.cache_sim", "replay a key trace through the eviction policies"),
    "wal": ("agent.app.wal_command", "look into a replica's log on the disk: verify it, or print its records"),
    "simulate": ("agent.app.simulate_command", "protocols in simulated time: membership of many members in one process"),
    "maelstrom": ("agent.app.maelstrom_command", "a node for Maelstrom, and a runner that tests such nodes"),
    "plugin": ("agent.app.plugin_command", "make a plugin, or list those there are"),
    "config": ("agent.app.schema", "print the JSON schema or the reference"),
}


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed, 2 wrong use or configuration."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help", "help"):
        print("usage: pilotfish COMMAND [options]\n")
        for name, (_, summary) in COMMANDS.items():
            print(f"  {name:<11}{summary}")
        print(f"  {'version':<11}print the version")
        return 0 if words else 2
    if words[0] in ("version", "--version"):
        from agent.runtime.build import describe

        print(describe())
        return 0
    known = COMMANDS.get(words[0])
    if known is None:
        print(f"pilotfish: found command {words[0]!r}, expected one of {', '.join([*COMMANDS, 'version'])}", file=sys.stderr)
        return 2
    if words[0] == "agent":
        gc.disable()  # until the agent is ready: an eighth of the time to get there went into looking for garbage
    module = importlib.import_module(known[0])
    parser = argparse.ArgumentParser(prog=f"pilotfish {words[0]}", description=known[1])
    module.add_arguments(parser)
    try:
        return int(module.run(parser.parse_args(words[1:])))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
