"""The web page of demo_elite360m.py. The only package that imports gradio."""
