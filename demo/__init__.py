"""The page of demo_elite360m.py. Imports gradio, which nothing else does."""
