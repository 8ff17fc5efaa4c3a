"""First guesses in closed form: colour maps from one photo's colours to another's."""
