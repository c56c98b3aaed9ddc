"""Shell completion: the commands to complete, a script for each shell, the answer to TAB."""
