"""From a run's folder to the Hub: cards, the process beside training that delivers, `lmeff publish`, `lmeff verify`."""
