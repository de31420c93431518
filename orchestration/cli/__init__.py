"""The command line: one file a group of commands, each of them a few lines over a library call."""
