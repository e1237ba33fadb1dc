"""The commands of the command line, one module each; none needs Keras before it has work."""
