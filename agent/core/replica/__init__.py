"""What every consensus core has in common: entries of a log, a group's members, and what goes into a core and comes out of it."""
