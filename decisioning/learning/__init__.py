"""Learning: what responses say about trials, folded by one learner in one recorded order into numbered model states."""
