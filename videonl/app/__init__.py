"""A page to try a network in a browser: Gradio's components over ``videonl.inference``."""
